r"""Raise errors of 20 MB, with control characters, ANSI escapes, and characters that turn the line round.

---
engines: [local, inline]
expect:
  state: FAIL
  cause: exception
  exit: 1
  reason: ValueError
  files: {error.txt: ValueError}
"""

MESSAGES = ["long " * 4_000_000, "\x1b[31mred\x1b[0m \x00 \x07 \x08 \r back", "a\u202egnihton\u2028new line\x85\x9b31m"]


def train(trial):
    raise ValueError(MESSAGES[trial.number])
