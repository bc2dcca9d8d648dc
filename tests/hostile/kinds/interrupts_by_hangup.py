"""Hang up on the driver, as a terminal that is closed; the same command again goes on.

---
engines: [local]
study: {mlflow: false}
run: {again: 3}
expect:
  exit: [130, 0]
  requeued: 1
  history: {1: {val_loss: 1.0}}
"""

import os
import signal
import time


def train(trial):
    trial.report(1, val_loss=1.0)
    if trial.number == 1:
        os.kill(os.getppid(), signal.SIGHUP)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            time.sleep(0.05)
            trial.report(1, val_loss=1.0)
    return {"val_loss": trial.params["x"]}
