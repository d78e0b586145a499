"""From a profile and a device to a programme, its bounds and a session."""
