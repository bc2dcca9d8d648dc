"""Search with a quasi-random sampler that is seeded, as every sampler here is.

---
engines: [local]
study: {sampler: qmc, mlflow: false}
expect: {never_says: ["warning", "reproducib"]}
"""


def train(trial):
    return {"val_loss": trial.params["x"]}
