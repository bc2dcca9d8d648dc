"""Switch the garbage collector off, as many do for speed.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect: {metrics: {val_loss: x, collects: 1}}
"""

import gc


def train(trial):
    collects = int(gc.isenabled())
    gc.disable()
    gc.freeze()
    return {"val_loss": trial.params["x"], "collects": collects}
