"""Set the start method of multiprocessing, which Python allows once in a process.

---
engines: [local, ray]
study: {mlflow: false}
"""

import multiprocessing


def train(trial):
    multiprocessing.set_start_method("spawn")
    return {"val_loss": trial.params["x"]}
