"""Run the engine: `python -m estim.engine FD`. Started by `client.py`, not by hand."""

import sys

from estim.engine.process import main

if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
