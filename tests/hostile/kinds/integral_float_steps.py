"""Report steps that are integers written as floats; they count, or are refused with a sentence.

---
engines: [local, inline]
expect:
  exit: [0, 1]
  history: {1-3: {val_loss: 1.0}}
  or: [{state: FAIL, cause: exception, reason: step}]
"""


def train(trial):
    for step in (1.0, 2.0, 3.0):
        trial.report(step, val_loss=1.0)
    return {"val_loss": trial.params["x"]}
