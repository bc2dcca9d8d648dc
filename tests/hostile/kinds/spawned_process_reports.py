"""Hand the trial to a spawned process, which reports through it.

---
engines: [local, ray]
study: {budget: {trials: 2}, mlflow: false}
expect:
  exit: [0, 1]
  history: {1: {val_loss: 1.0}}
  or:
    - {state: FAIL, cause: exception}
    - {metrics: {val_loss: x, refused: 1}}
"""

import multiprocessing


def report(trial):
    trial.report(1, val_loss=1.0)


def train(trial):
    process = multiprocessing.get_context("spawn").Process(target=report, args=(trial,))
    process.start()
    process.join()
    if process.exitcode:
        return {"val_loss": trial.params["x"], "refused": 1}
    return {"val_loss": trial.params["x"]}
