r"""Raise Pruned with 20 MB, with a surrogate, with escapes, with bytes, with an object without words.

---
engines: [local, ray, inline]
study: {budget: {trials: 6}}
expect: {exit: 1, state: PRUNED, cause: objective}
"""

import hpo


class Mute:
    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


def train(trial):
    reasons = ("far " * 5_000_000, "caf\udce9", "\x1b[2J\x00\r\nnext", b"\xff\xfe", Mute(), ["a", {"b": None}])
    raise hpo.Pruned(reasons[trial.number])
