"""Report over the socket from a command in four threads, with values and steps that cannot be.

---
engines: [local, ray]
study: {command: [python, objective.py], engine: {trial_timeout: 60}, mlflow: false}
expect:
  history: {0-49: {t0: step, t1: step, t2: step, t3: step}}
  metrics: {val_loss: 0.5}
"""

import json
import os
import socket
import threading

import hpo


def work(rank):
    for step in range(50):
        hpo.report(step, **{f"t{rank}": step})


threads = [threading.Thread(target=work, args=(rank,)) for rank in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
# What is no report does not end the conversation of others.
with socket.socket(socket.AF_UNIX) as other:
    other.connect(os.environ["HPO_SOCKET"].replace("@", "\0", 1))
    other.sendall(b'\xff\n{"step": "a"}\nnull\n[]\n{"step": 1e400, "a": 1}\n')
print(json.dumps({"val_loss": 0.5}))
