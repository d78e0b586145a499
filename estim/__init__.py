"""Session controller for electrical stimulators. Not a certified medical device."""

__version__ = "0.1.0"
