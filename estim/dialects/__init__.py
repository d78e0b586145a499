"""The protocols of stimulators that others make: bytes to messages and back, without I/O."""
