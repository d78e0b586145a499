"""The contract between host and device: messages, limits, pulse programmes.

Standard library only.
"""
