"""Clear the whole environment, and put a plain dict in its place.

---
engines: [local, ray]
study: {mlflow: false}
expect: {metrics: {val_loss: x, variables: value > 3, real: 1}}
"""

import os


def train(trial):
    found = len(os.environ), type(os.environ).__name__ == "_Environ"
    os.environ.clear()
    os.environ = {}  # noqa: B003
    return {"val_loss": trial.params["x"], "variables": found[0], "real": int(found[1])}
