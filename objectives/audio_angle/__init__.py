"""Rank sounds by the angle they came from, or by any other order, with a residual network on spectrograms."""

from objectives.audio_angle.objective import check_data, evaluate, load, predict, train, validate

__all__ = ["check_data", "evaluate", "load", "predict", "train", "validate"]
