"""Leave a grandchild in a session of its own whose parent has ended.

---
engines: [local, ray]
study: {mlflow: false}
expect: {metrics: {val_loss: x, running: 0}}
"""

import os
import subprocess

import psutil


def train(trial):
    pids = [int(pid) for pid in (trial.root / "pids").read_text().split()] if trial.number else []
    running = sum(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)
    ready, told = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.setsid()
        sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True)
        os.write(told, f"{sleeper.pid}\n".encode())
        os._exit(0)
    os.waitpid(middle, 0)
    os.close(told)
    with os.fdopen(ready) as pipe, open(trial.root / "pids", "a") as file:
        file.write(pipe.read())
    return {"val_loss": trial.params["x"], "running": running}
