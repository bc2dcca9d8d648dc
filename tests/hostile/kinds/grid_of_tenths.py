"""Search a grid of steps that floats cannot hold; no cell is tried twice.

---
engines: [local]
study:
  search_space: {rate: {low: 0.1, high: 0.5, step: 0.1}, other: {choices: [0.3, 0.30000000000000004]}}
  sampler: grid
  budget: {trials: 20}
  mlflow: false
expect: {exit: [0, 2]}
"""


def train(trial):
    return {"val_loss": trial.params["rate"]}
