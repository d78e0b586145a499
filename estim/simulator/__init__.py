"""A virtual stimulator: the device's side of the protocol, and witness of what it delivered."""
