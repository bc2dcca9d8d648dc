"""Read auditory brainstem responses: denoise, tell the class of hearing, find wave V and the threshold, at once."""

from objectives.abr.objective import check_data, evaluate, load, measure, predict, train, validate

__all__ = ["check_data", "evaluate", "load", "measure", "predict", "train", "validate"]
