"""Raise errors that pickle cannot carry, with notes and causes in circles.

---
engines: [local, ray, inline]
study: {budget: {trials: 4}}
expect:
  exit: 1
  state: FAIL
  cause: exception
  reason: Local|Circle|Group|Noted
"""

import threading


def train(trial):
    class Local(Exception):
        def __init__(self, lock):
            super().__init__(lock)
            self.lock = lock

        def __reduce__(self):
            raise TypeError("never")

    class Circle(Exception):
        pass

    class Group(ExceptionGroup):
        pass

    class Noted(Exception):
        pass

    if trial.number == 0:
        raise Local(threading.Lock())
    if trial.number == 1:
        first, second = Circle("first"), Circle("second")
        first.__cause__, second.__cause__ = second, first
        raise first
    if trial.number == 2:
        raise Group("several", [ValueError("\udcff"), Group("inner", [KeyError("k")])])
    error = Noted("with notes")
    error.add_note("a lone surrogate: \ud800")
    raise error
