"""Send what is printed to a file that is closed at the end, and never put sys.stdout back.

---
engines: [local, ray]
study: {budget: {trials: 4}, mlflow: false}
expect: {files: {output.log: "begins"}}
"""

import sys


def train(trial):
    print("begins")
    with open(trial.root / "trained.txt", "a") as file:
        file.write(f"{trial.number}\n")
    with (trial.directory / "log.txt").open("w") as file:
        sys.stdout = sys.stderr = file
        print("trains")
    return {"val_loss": trial.params["x"]}
