"""Search ranges of one unit in the last place and up to 1e300.

---
engines: [local]
study:
  search_space:
    narrow: {low: 1.0, high: 1.0000000000000002}
    wide: {low: -1.0e+300, high: 1.0e+300}
    decades: {low: 1.0e-300, high: 1.0e+300, log: true}
    learning_rate: {low: 1.0e-300, high: 1.0e+300, log: true}
  budget: {trials: 30}
  mlflow: false
expect: {metrics: {val_loss: "params['narrow']"}}
"""


def train(trial):
    return {"val_loss": trial.params["narrow"]}
