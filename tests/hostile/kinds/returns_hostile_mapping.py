"""Return mappings whose items raise, never end, exit or change as they are read.

---
engines: [local, ray, inline]
study: {budget: {trials: 5}, engine: {trial_timeout: 60}}
expect:
  exit: 1
  state: FAIL
  cause: invalid
  or: [{state: FAIL, cause: exception}, {state: FAIL, cause: timeout}]
"""

import sys
from collections.abc import Mapping


class Raising(dict):
    def items(self):
        raise ValueError("no items")


class Exiting(dict):
    def items(self):
        sys.exit(3)


class Lying(Mapping):
    def __iter__(self):
        return iter(("val_loss", "other"))

    def __len__(self):
        return 2

    def __getitem__(self, name):
        raise KeyError(name)


class Changing(dict):
    def items(self):
        for name in self:
            self[name + "+"] = 1.0
            yield name, 1.0


class Item(float):
    def __float__(self):
        raise ZeroDivisionError("no float")


def train(trial):
    return (Raising(val_loss=1), Exiting(val_loss=1), Lying(), Changing(a=1), {"val_loss": Item(1)})[trial.number]
