"""Report through the handle of the first trial in all later ones.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect:
  trials:
    0: {history: {1: {val_loss: 1.0}}}
    1: {state: FAIL, cause: exception, reason: trial, or: [{history: {1: {val_loss: 1.0}, 2: {val_loss: 0.5}}}]}
    2: {state: FAIL, cause: exception, reason: trial, or: [{history: {1: {val_loss: 1.0}, 2: {val_loss: 0.5}}}]}
"""

KEPT = []


def train(trial):
    KEPT.append(trial)
    if trial.number:
        KEPT[0].report(2, val_loss=0.5)
    trial.report(1, val_loss=1.0)
    return {"val_loss": trial.params["x"]}
