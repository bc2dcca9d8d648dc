"""Raise Optuna's own TrialPruned, as objectives written for Optuna do.

---
engines: [local, ray, inline]
study: {budget: {trials: 4}}
expect:
  trials:
    0: {state: PRUNED, cause: objective, history: {1: {val_loss: 1.0}}}
    1: {state: PRUNED, cause: objective, reason: diverged, history: {1: {val_loss: 1.0}}}
    2: {state: PRUNED, cause: objective, reason: surro, history: {1: {val_loss: 1.0}}}
    3: {history: {1: {val_loss: 1.0}}}
"""

import optuna


def train(trial):
    trial.report(1, val_loss=1.0)
    if trial.number == 0:
        raise optuna.TrialPruned
    if trial.number == 1:
        raise optuna.exceptions.TrialPruned("diverged")
    if trial.number == 2:
        raise optuna.TrialPruned("surro\udcffgate")
    return {"val_loss": trial.params["x"]}
