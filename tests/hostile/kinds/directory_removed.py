"""Go to a folder and remove it, so that the process has no current folder any more.

---
engines: [local, ray, inline]
study: {mlflow: false}
"""

import os


def train(trial):
    os.path.abspath("anything")
    folder = trial.directory / "work"
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()
    return {"val_loss": trial.params["x"]}
