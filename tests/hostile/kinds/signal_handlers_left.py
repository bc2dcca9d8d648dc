"""Leave handlers of signals that raise, and an interval timer that goes on.

---
engines: [local, ray]
study: {mlflow: false}
expect: {metrics: {val_loss: x, rings: 0}}
"""

import signal
import time

RANG = []


def ring(number, frame):
    RANG.append(number)
    raise TimeoutError("an alarm of another trial")


def train(trial):
    RANG.clear()
    time.sleep(0.3)
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    return {"val_loss": trial.params["x"], "rings": len(RANG)}
