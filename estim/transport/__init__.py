"""Byte lines to devices; the only place that knows pyserial."""
