"""Remove the folders of all trials, finished ones and its own.

---
engines: [local, inline]
expect: {history: any}
"""

import shutil


def train(trial):
    trial.report(1, val_loss=2.0)
    shutil.rmtree(trial.directory.parent)
    trial.report(2, val_loss=1.0)
    return {"val_loss": trial.params["x"]}
