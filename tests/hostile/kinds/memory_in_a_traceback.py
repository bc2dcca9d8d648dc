"""Fail with 320 MB in a local variable, which the traceback of the error holds.

---
engines: [local, ray]
study: {budget: {trials: 6}, mlflow: false}
expect:
  exit: 0
  metrics: {val_loss: x, mib: value < 400}
  trials:
    0: {state: FAIL, cause: exception, reason: failed}
    1: {state: FAIL, cause: exception, reason: failed}
    2: {state: FAIL, cause: exception, reason: failed}
    3: {state: FAIL, cause: exception, reason: failed}
    4: {state: FAIL, cause: exception, reason: failed}
"""

import numpy as np


def train(trial):
    with open("/proc/self/status") as file:
        resident = next(line for line in file if line.startswith("VmRSS"))
    if trial.number == 5:
        return {"val_loss": trial.params["x"], "mib": int(resident.split()[1]) / 1024}
    weights = np.ones(40_000_000)
    raise ValueError(f"failed with {len(weights)}")
