"""Put a file in the place of the trial's folder; fail in the second trial, save in the third.

---
engines: [local, ray, inline]
expect:
  history: any
  trials:
    1: {state: FAIL, cause: exception, reason: broken, history: any}
    2: {state: FAIL, cause: exception, reason: exists|directory, history: any}
"""

import shutil


def train(trial):
    trial.report(1, val_loss=2.0)
    shutil.rmtree(trial.directory)
    trial.directory.write_text("not a folder")
    trial.report(2, val_loss=1.0)
    if trial.number == 1:
        raise ValueError("broken")
    if trial.number == 2:
        trial.save({"epoch": 2})
    return {"val_loss": trial.params["x"]}
