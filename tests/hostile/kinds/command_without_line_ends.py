"""Print 60 MB without a line end before the training, and a line of 5 MB that is no JSON.

---
engines: [local]
study: {command: [python, objective.py], budget: {trials: 1}, engine: {trial_timeout: 300}, mlflow: false}
expect: {history: {1: {val_loss: 1.0}}, metrics: {val_loss: 1.0}}
"""

import sys

for _ in range(60):
    sys.stdout.write("." * 2**20)
sys.stdout.write("\n{" + "a" * 5_000_000 + "\n")
print('{"epoch": 1, "val_loss": 1.0}')
