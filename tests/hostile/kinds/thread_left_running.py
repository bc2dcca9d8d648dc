"""Leave a thread that is no daemon and never ends.

---
engines: [local, ray]
study: {mlflow: false}
"""

import threading
import time


def work():
    while True:
        time.sleep(60)


def train(trial):
    threading.Thread(target=work).start()
    return {"val_loss": trial.params["x"]}
