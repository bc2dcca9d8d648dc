r"""Return metrics whose names are no text, are empty, hold a surrogate, or have no words.

---
engines: [local, ray, inline]
study: {budget: {trials: 4}}
expect:
  exit: [0, 1]
  trials:
    0: {metrics: {val_loss: x, "0": 1.0, "None": 2.0, "(1, 2)": 3.0}, or: [{state: FAIL, cause: invalid}]}
    1: {metrics: {val_loss: x, "": 1.0, " ": 2.0, "\\n": 3.0}, or: [{state: FAIL, cause: invalid}]}
    2: {state: FAIL, cause: invalid, or: [{metrics: any}]}
    3: {state: FAIL, cause: invalid, or: [{state: FAIL, cause: exception}]}
"""


class Mute:
    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


def train(trial):
    metrics = {"val_loss": trial.params["x"]}
    others = ({0: 1.0, None: 2.0, (1, 2): 3.0}, {"": 1.0, " ": 2.0, "\n": 3.0}, {"\udce9": 1.0}, {Mute(): 1.0})
    return metrics | others[trial.number]
