"""Drivers: what the session wants, in a device's own language."""
