"""Change sys.argv and sys.path for a library, in place and by name.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect: {metrics: {val_loss: x, own_arguments: 0, own_path: 0}}
"""

import sys


def train(trial):
    own = sys.argv.count("--own"), sys.path.count("/own")
    sys.argv += ["--own", "1"]
    sys.argv = ["other.py", "--own"]
    sys.path.insert(0, "/own")
    sys.path = ["/own", *sys.path]
    return {"val_loss": trial.params["x"], "own_arguments": own[0], "own_path": own[1]}
