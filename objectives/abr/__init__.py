"""Read auditory brainstem responses: denoise, tell the class of hearing, find wave V and the threshold, at once."""

from objectives.abr.objective import evaluate, train

__all__ = ["evaluate", "train"]
