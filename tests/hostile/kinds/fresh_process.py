"""Count its own calls in a module, in a study that wants a fresh process for every trial.

---
engines: [local, ray]
study: {engine: {fresh_process: true}, mlflow: false}
expect: {metrics: {val_loss: x, calls: 1}}
"""

CALLS = []


def train(trial):
    CALLS.append(trial.number)
    return {"val_loss": trial.params["x"], "calls": len(CALLS)}
