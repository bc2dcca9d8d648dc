"""Take the handle of the trial when the module is imported, and report through it in the function.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect:
  exit: [0, 1]
  history: {1-3: {val_loss: 1 / step}}
  or: [{state: FAIL, cause: exception, reason: import|current_trial|trial}]
"""

import hpo

TRIAL = hpo.current_trial()


def train(trial):
    for epoch in range(1, 4):
        TRIAL.report(epoch, val_loss=1 / epoch)
    return {"val_loss": trial.params["x"]}
