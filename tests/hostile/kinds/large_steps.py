"""Report steps of NumPy's kinds and steps that are large, in leaps.

---
engines: [local, ray, inline]
expect: {history: {0: {val_loss: 1.0}, 7: {val_loss: 1.0}, 1000000: {val_loss: 1.0}, 4503599627370497: {val_loss: 1.0}}}
"""

import numpy as np


def train(trial):
    for step in (0, np.int64(7), np.uint32(1_000_000), 2**52 + 1):
        trial.report(step, val_loss=1.0)
    return {"val_loss": trial.params["x"]}
