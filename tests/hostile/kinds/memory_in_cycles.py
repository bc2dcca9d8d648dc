"""Leave 320 MB in a reference cycle after each trial.

---
engines: [local, ray]
study: {budget: {trials: 6}, mlflow: false}
expect: {metrics: {val_loss: x, mib: value < 800}}
"""

import numpy as np


class Model:
    def __init__(self):
        self.weights = np.ones(40_000_000)
        self.trainer = self


def train(trial):
    Model()
    with open("/proc/self/status") as file:
        resident = next(line for line in file if line.startswith("VmRSS"))
    return {"val_loss": trial.params["x"], "mib": int(resident.split()[1]) / 1024}
