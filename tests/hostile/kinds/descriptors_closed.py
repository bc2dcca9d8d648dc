"""Close the file descriptors 0, 1 and 2, as a daemon does.

---
engines: [local, ray]
study: {mlflow: false}
"""

import os


def train(trial):
    with open(trial.root / "trained.txt", "a") as file:
        file.write(f"{trial.number}\n")
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    return {"val_loss": trial.params["x"]}
