"""Close every file descriptor, so that the worker loses its driver.

---
engines: [local]
study: {mlflow: false}
expect:
  exit: 1
  state: FAIL
  cause: lost
  reason: worker process
"""

import os


def train(trial):
    os.closerange(3, 256)
    return {"val_loss": trial.params["x"]}
