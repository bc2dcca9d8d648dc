"""Segment mitochondria in electron-microscopy slices with a U-Net, with or without attention gates."""

from objectives.mitochondria.objective import evaluate, train

__all__ = ["evaluate", "train"]
