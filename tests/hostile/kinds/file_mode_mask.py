"""Leave a mask that takes every right from new files.

---
engines: [local, ray]
study: {mlflow: false}
expect: {metrics: {val_loss: x, same: 1}}
"""

import os

FIRST = []


def train(trial):
    mask = os.umask(0o777)
    FIRST.append(mask)
    return {"val_loss": trial.params["x"], "same": int(mask == FIRST[0] != 0o777)}
