"""Remove the trial's folder between two reports, and fail in the second trial.

---
engines: [local, ray, inline]
expect:
  history: any
  trials:
    1: {state: FAIL, cause: exception, reason: no space, history: any}
"""

import shutil


def train(trial):
    trial.report(1, val_loss=2.0)
    shutil.rmtree(trial.directory)
    trial.report(2, val_loss=1.0)
    if trial.number == 1:
        raise OSError("no space")
    return {"val_loss": trial.params["x"]}
