"""What `estim --version` says."""

from __future__ import annotations

import estim

VERSION_TEXT = f"estim {estim.__version__}. Not a certified medical device."
