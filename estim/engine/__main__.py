"""Run the engine: `python -m estim.engine FD`. Started by `client.py`, not by hand."""

import gc
import sys

gc.disable()  # what is loaded now is there to stay; the loop collects once it turns

from estim.engine.process import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
