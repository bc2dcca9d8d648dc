"""Return NaN, infinity, None, text, lists, bools, complex and numbers beyond all floats as the study's metric.

---
engines: [local, ray, inline]
study: {budget: {trials: 10}}
expect: {exit: 1, state: FAIL, cause: invalid, reason: val_loss}
"""

import math
from decimal import Decimal

VALUES = (math.nan, -math.inf, None, "0.5", [0.5], True, 1 + 2j, 10**400, {"mean": 0.5}, Decimal("sNaN"))


def train(trial):
    return {"val_loss": VALUES[trial.number]}
