"""Change, add and delete environment variables.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect: {metrics: {val_loss: x, odd: 0}}
"""

import os


def train(trial):
    odd = ("PATH" not in os.environ) + ("OWN_SEED" in os.environ) + (os.environ.get("HOME") == "/nowhere")
    os.environ["OWN_SEED"] = str(trial.seed)
    os.environ["HOME"] = "/nowhere"
    del os.environ["PATH"]
    return {"val_loss": trial.params["x"], "odd": odd}
