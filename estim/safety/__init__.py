"""The safety kernel: pure, integer, standard library only."""
