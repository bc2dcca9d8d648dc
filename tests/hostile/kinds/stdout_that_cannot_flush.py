"""Leave a tee as sys.stdout whose flush raises, and whose write goes to a closed file.

---
engines: [local, ray]
study: {mlflow: false}
"""

import sys


class Tee:
    def __init__(self, file):
        self.file = file

    def write(self, text):
        return self.file.write(text)

    def flush(self):
        raise OSError("the disk of the log is gone")


def train(trial):
    with open(trial.root / "trained.txt", "a") as file:
        file.write(f"{trial.number}\n")
    sys.stdout = sys.stderr = Tee(file)
    return {"val_loss": trial.params["x"]}
