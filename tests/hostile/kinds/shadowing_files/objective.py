"""Stand beside files that are called as modules of Python, of libraries and of hpo.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect: {metrics: {val_loss: 2 * x}}
"""


def train(trial):
    from objectives.mine import FACTOR

    return {"val_loss": FACTOR * trial.params["x"]}
