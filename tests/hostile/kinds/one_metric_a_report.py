"""Report each metric of a step by itself, some of them twice, steps in falling order.

---
engines: [local]
expect: {history: {1-4: {val_loss: 10 * step, a: step, b: nan, c: 3.0}}}
"""


def train(trial):
    for step in (4, 3, 2, 1):
        trial.report(step, a=-1.0)
        trial.report(step, b=float("nan"))
        trial.report(step, val_loss=10 * step)
        trial.report(step, c=1.0)
        trial.report(step, c=3, a=step)
    return {"val_loss": trial.params["x"]}
