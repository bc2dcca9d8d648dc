r"""Call sys.exit with nothing, 0, text, a surrogate and an object whose repr raises.

---
engines: [local, ray, inline]
study: {budget: {trials: 5}}
expect: {exit: 1, state: FAIL, cause: exception, reason: 'sys\.exit'}
"""

import sys


class Mute:
    def __repr__(self):
        raise RuntimeError("no words")


def train(trial):
    sys.exit((None, 0, "wrong data", "caf\udce9", Mute())[trial.number])
