"""Seed every generator with one number, and replace NumPy's.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect: {metrics: {val_loss: x, own: 3}}
"""

import random

import numpy as np
import torch


def train(trial):
    torch.manual_seed(trial.seed)
    wanted = (random.Random(trial.seed).random(), np.random.RandomState(trial.seed).rand(), torch.initial_seed())
    torch.manual_seed(0) if trial.number == 0 else None
    found = (random.random(), np.random.rand(), trial.seed)
    random.seed(0)
    np.random.seed(0)
    return {"val_loss": trial.params["x"], "own": sum(a == b for a, b in zip(wanted, found, strict=True))}
