"""The process that owns port, clock, session and record."""
