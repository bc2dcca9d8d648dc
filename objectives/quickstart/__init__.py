"""Find a rare handwritten digit: the smallest task here, real data, no download."""

from objectives.quickstart.objective import predict, train

__all__ = ["predict", "train"]
