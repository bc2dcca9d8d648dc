"""Leave a process behind that holds the command's output open, in a session of its own.

---
engines: [local, ray]
study: {command: [python, objective.py], mlflow: false}
expect: {history: {1: {val_loss: 1.0}}, metrics: {val_loss: 1.0}}
"""

import subprocess

print('{"epoch": 1, "val_loss": 1.0}', flush=True)
subprocess.Popen(["sleep", "600"])
subprocess.Popen(["sleep", "600"], start_new_session=True)
