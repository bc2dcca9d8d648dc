"""Report NaN, infinities, numbers of NumPy and torch, and the largest and smallest floats.

---
engines: [local, ray, inline]
study: {red_flags: []}
expect:
  history:
    1: {val_loss: nan, a: inf, b: -inf}
    2: {val_loss: 1.7976931348623157e308, a: 5.0e-324, b: -0.0}
    3: {val_loss: 2.5, a: 1.5, b: 1.0e22}
"""

import math

import numpy as np
import torch


def train(trial):
    trial.report(1, val_loss=math.nan, a=math.inf, b=-math.inf)
    trial.report(2, val_loss=1.7976931348623157e308, a=5e-324, b=-0.0)
    trial.report(3, val_loss=np.float16(2.5), a=torch.tensor([1.5]), b=10**22)
    return {"val_loss": trial.params["x"]}
