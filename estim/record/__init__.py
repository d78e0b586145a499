"""Keep the tamper-evident record of a session."""
