"""Raise what is no Exception: KeyboardInterrupt, CancelledError, GeneratorExit, and a class of its own.

---
engines: [local, ray]
study: {budget: {trials: 5}}
expect:
  exit: 1
  state: FAIL
  cause: exception
  reason: KeyboardInterrupt|CancelledError|GeneratorExit|Abort|StopIteration
  files: {error.txt: Traceback}
"""

import asyncio


class Abort(BaseException):
    pass


def train(trial):
    raise (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, Abort, StopIteration)[trial.number]()
