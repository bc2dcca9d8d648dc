"""Report steps that no storage can hold, negative ones, and what is no integer.

---
engines: [local, ray, inline]
study: {budget: {trials: 8}}
expect:
  exit: 1
  state: FAIL
  cause: exception
  reason: step
"""

STEPS = (2**63, 10**400, -1, True, 1.5, "3", None, float("nan"))


def train(trial):
    trial.report(STEPS[trial.number], val_loss=1.0)
    return {"val_loss": trial.params["x"]}
