"""Have constants whose keys are no text, with NaN and infinity, at any depth; then go on.

---
engines: [local, inline]
study:
  constants:
    class_weight: {0: 1.0, 1: 5.0}
    missing: .nan
    deep: [{true: {1.5: .inf}}, {null: [.nan, {2: a}]}]
  mlflow: false
run: {again: 4}
expect: {metrics: {val_loss: x + 5}}
"""

import math


def train(trial):
    assert math.isnan(trial.constants["missing"])
    assert trial.constants["deep"][0] == {True: {1.5: math.inf}}, trial.constants["deep"]
    return {"val_loss": trial.params["x"] + trial.constants["class_weight"][1]}
