"""Search more integers than a float can count with the sampler gp, which would allocate for each of them.

---
engines: [local]
study:
  search_space: {n: {low: 0, high: 9007199254740992}}
  sampler: gp
  mlflow: false
expect: {exit: 2, says: [search_space, gp], metrics: any}
"""


def train(trial):
    return {"val_loss": trial.params["n"]}
