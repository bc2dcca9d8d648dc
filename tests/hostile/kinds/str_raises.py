"""Raise errors whose __str__ or __repr__ raises in its turn, or returns what is no text.

---
engines: [local, ray, inline]
study: {budget: {trials: 4}}
expect:
  exit: 1
  state: FAIL
  cause: exception
  reason: Silent|Mute|Odd|Endless
  files: {error.txt: Silent|Mute|Odd|Endless}
"""


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no words")


class Mute(Exception):
    def __str__(self):
        raise SystemExit("no words")

    __repr__ = __str__


class Odd(Exception):
    def __str__(self):
        return 7


class Endless(Exception):
    def __str__(self):
        return str(self)


def train(trial):
    raise (Silent, Mute, Odd, Endless)[trial.number]("text")
