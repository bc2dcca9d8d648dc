"""Raise a class of its own below Pruned which does not set a reason, or sets it to None.

---
engines: [local, ray, inline]
study: {budget: {trials: 2}}
expect: {exit: 1, state: PRUNED, cause: objective}
"""

import hpo


class NoData(hpo.Pruned):
    def __init__(self):
        Exception.__init__(self, "no data")


class NoReason(hpo.Pruned):
    def __init__(self):
        super().__init__("text")
        self.reason = None


def train(trial):
    raise (NoData, NoReason)[trial.number]()
