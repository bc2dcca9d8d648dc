"""Leave a forked process that reports as soon as the next trial runs.

---
engines: [local, ray]
study: {mlflow: false}
expect: {history: {1: {val_loss: 1.0}}}
"""

import os
import time


def train(trial):
    begun = trial.root / f"begun-{trial.number}"
    begun.touch()
    trial.report(1, val_loss=1.0)
    if os.fork() == 0:
        following = trial.root / f"begun-{trial.number + 1}"
        for step in range(2, 2000):
            time.sleep(0.01)
            if following.exists():
                try:
                    trial.report(step, late=0.0)
                except BaseException as error:
                    print("refused:", error)
        os._exit(0)
    if trial.number:
        time.sleep(0.3)  # in which the process of the trial before reports, if there is one
    return {"val_loss": trial.params["x"]}
