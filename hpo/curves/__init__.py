"""Training curves: their shape, what is wrong with them, and the names of metrics."""
