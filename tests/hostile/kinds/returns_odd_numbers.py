"""Return numbers of NumPy, torch, fractions and Python's own of unusual kinds.

---
engines: [local, ray, inline]
study: {budget: {trials: 8}}
expect: {metrics: {val_loss: number}}
"""

from fractions import Fraction

import numpy as np
import torch


def train(trial):
    number = trial.number
    kinds = (
        np.float16,
        np.int64,
        lambda n: np.array([n], dtype=np.float32),
        lambda n: np.array(n),
        lambda n: torch.tensor(float(n), requires_grad=True),
        lambda n: torch.tensor([n], dtype=torch.bfloat16),
        lambda n: Fraction(2 * n, 2),
        np.longdouble,
    )
    return {"val_loss": kinds[number](number)}
