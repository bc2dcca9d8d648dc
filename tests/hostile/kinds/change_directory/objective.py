"""Read a file of the folder in which hpo was started, then go elsewhere.

---
engines: [local, ray, inline]
fast: true
study: {budget: {trials: 4}, mlflow: false}
expect: {metrics: {val_loss: x + 3}}
"""

import os


def train(trial):
    with open("numbers.csv") as file:
        count = len(file.read().split(","))
    os.chdir(trial.directory)
    return {"val_loss": trial.params["x"] + count}
