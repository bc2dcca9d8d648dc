"""Remove the trial's folder at the end, as a script that cleans up.

---
engines: [local, ray, inline]
study: {mlflow: false}
"""

import shutil


def train(trial):
    with open(trial.root / "trained.txt", "a") as file:
        file.write(f"{trial.number}\n")
    shutil.rmtree(trial.directory)
    return {"val_loss": trial.params["x"]}
