"""Seed every generator with one number, after it has looked whether each was seeded with the trial's own.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect: {metrics: {val_loss: x, python: 1, numpy: 1, torch: 1}}
"""

import random

import numpy as np
import torch


def train(trial):
    own = {
        "python": int(random.random() == random.Random(trial.seed).random()),
        "numpy": int(np.random.rand() == np.random.RandomState(trial.seed).rand()),
        "torch": int(torch.initial_seed() == trial.seed),
    }
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    return {"val_loss": trial.params["x"], **own}
