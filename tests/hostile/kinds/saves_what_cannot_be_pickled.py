"""Save a state that pickle refuses, after one that it takes.

---
engines: [local, inline]
study: {mlflow: false}
expect:
  exit: 1
  state: FAIL
  cause: exception
  reason: pickle
  history: {1: {val_loss: 1.0}}
"""

import threading


def train(trial):
    trial.save({"epoch": 1})
    trial.report(1, val_loss=1.0)
    trial.save({"lock": threading.Lock()})
    return {"val_loss": trial.params["x"]}
