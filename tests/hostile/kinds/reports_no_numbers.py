"""Report text, None, arrays, numbers beyond all floats, and objects whose conversion raises.

---
engines: [local, ray, inline]
study: {budget: {trials: 8}}
expect:
  exit: 1
  state: FAIL
  cause: exception
  reason: val_loss
"""

import numpy as np


class Item(float):
    def __float__(self):
        raise ZeroDivisionError("no float")


class Tensor:
    shape = ()

    def item(self):
        raise RuntimeError("not on this device")

    def __repr__(self):
        raise RuntimeError("no words")


VALUES = ("0.5", None, np.ones(1_000_000), 10**400, Item(1), Tensor(), np.array(["a"]), 1j)


def train(trial):
    trial.report(1, val_loss=VALUES[trial.number])
    return {"val_loss": trial.params["x"]}
