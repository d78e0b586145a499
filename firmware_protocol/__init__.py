"""The contract between host and device: messages, limits, programmes. Standard library only."""
