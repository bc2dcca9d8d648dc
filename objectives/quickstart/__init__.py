"""Find a rare handwritten digit: the smallest task here, real data, no download."""

from objectives.quickstart.objective import train

__all__ = ["train"]
