"""A virtual stimulator: the device's side of the protocol, and the witness of what reached the load."""
