"""Leave an alarm that rings in the next trial, where nobody waits for it.

---
engines: [local, ray]
study: {mlflow: false}
"""

import signal
import time


def train(trial):
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        time.sleep(0.05)
    signal.alarm(1)
    return {"val_loss": trial.params["x"]}
