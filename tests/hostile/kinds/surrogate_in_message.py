r"""Raise an error whose message holds the name of a file that is not UTF-8.

---
engines: [local, ray, inline]
run: {again: 4}
expect:
  exit: 1
  state: FAIL
  cause: exception
  reason: 'no label for caf\\(\\)?(udc)?(x)?e9\.png'
  files: {error.txt: no label for caf}
"""

import os


def train(trial):
    folder = trial.directory / "images"
    folder.mkdir()
    with open(os.fsencode(folder) + b"/caf\xe9.png", "w"):
        pass
    raise FileNotFoundError(f"no label for {os.listdir(folder)[0]}")
