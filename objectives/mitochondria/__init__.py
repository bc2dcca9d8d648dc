"""Segment mitochondria in electron-microscopy slices with a U-Net, with or without attention gates."""

from objectives.mitochondria.objective import check_data, evaluate, load, predict, train, validate

__all__ = ["check_data", "evaluate", "load", "predict", "train", "validate"]
