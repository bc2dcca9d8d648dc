"""Leave child processes that run on: in its group, in a session of their own, and one that ignores SIGTERM.

---
engines: [local, ray]
study: {mlflow: false}
expect: {metrics: {val_loss: x, running: 0}}
"""

import os
import signal
import subprocess
import sys

import psutil

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def train(trial):
    running = len(psutil.Process().children(recursive=True))
    subprocess.Popen(["sleep", "600"])
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    subprocess.Popen([sys.executable, "-c", DEAF])
    if os.fork() == 0:
        signal.pause()
    return {"val_loss": trial.params["x"], "running": running}
