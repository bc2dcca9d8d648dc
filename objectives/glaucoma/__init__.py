"""Find referable glaucoma in photographs of the fundus, of which few show it."""

from objectives.glaucoma.objective import check_data, evaluate, load, predict, train, validate

__all__ = ["check_data", "evaluate", "load", "predict", "train", "validate"]
