"""End the worker process at once, with code 0 and with code 3.

---
engines: [local, ray]
study: {budget: {trials: 2}, mlflow: false}
expect:
  exit: 1
  trials:
    0: {state: FAIL, cause: lost, reason: code 0}
    1: {state: FAIL, cause: lost, reason: code 3}
"""

import os


def train(trial):
    os._exit(3 * trial.number)
