"""Have NumPy raise where it would warn, and print numbers otherwise.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect: {metrics: {val_loss: x, precision: 8}}
"""

import numpy as np


def train(trial):
    with np.errstate():
        np.float64(1.0) / np.float64(np.finfo(float).max) / 1e300  # underflow is ignored by default
    precision = np.get_printoptions()["precision"]
    np.seterr(all="raise")
    np.set_printoptions(precision=1)
    return {"val_loss": trial.params["x"], "precision": precision}
