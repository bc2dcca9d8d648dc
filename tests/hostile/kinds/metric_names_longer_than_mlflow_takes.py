"""Report and return metrics whose names have 300 letters and differ in the last one alone.

---
engines: [local]
study: {budget: {trials: 2}}
expect: {history: any, metrics: any}
"""


def train(trial):
    names = {"n" * 299 + letter: float(index) for index, letter in enumerate("abc")}
    for step in (1, 2):
        trial.report(step, val_loss=step, **names)
    return {"val_loss": trial.params["x"], **names}
