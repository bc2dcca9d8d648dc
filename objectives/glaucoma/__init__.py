"""Find referable glaucoma in photographs of the fundus, of which few show it."""

from objectives.glaucoma.objective import evaluate, train

__all__ = ["evaluate", "train"]
