"""Report from a command while $TMPDIR is longer than a Unix socket's path may be.

---
engines: [local, ray]
study: {command: [python, objective.py], mlflow: false}
run:
  tmpdir: job-4711/of-a-queueing-system-that-gives-every-job-a-folder-of-its-own/whose-name-says-who/and-when/and-where
expect: {history: {1: {val_loss: x}}}
"""

import hpo

trial = hpo.current_trial()
hpo.report(1, val_loss=trial.params["x"])
