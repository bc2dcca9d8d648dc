"""Wrap the buffer of sys.stdout anew, which leaves the old stream without one.

---
engines: [local, ray]
study: {mlflow: false}
expect: {files: {output.log: "grüße"}}
"""

import io
import sys


def train(trial):
    with open(trial.root / "trained.txt", "a") as file:
        file.write(f"{trial.number}\n")
    sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="utf-8", line_buffering=True)
    print("grüße")
    return {"val_loss": trial.params["x"]}
