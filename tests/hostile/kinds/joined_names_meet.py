"""Search parameters whose names, joined by dots, are the same.

---
engines: [local]
study:
  search_space:
    loss:
      choices:
        focal: {variant: {choices: {soft: {gamma: {low: 1, high: 4}}, hard: {}}}}
        focal.variant.soft: {gamma: {low: 0.0, high: 0.5}}
  budget: {trials: 12}
  mlflow: false
expect: {exit: 2, says: [study.yaml, focal.variant.soft]}
"""


def train(trial):
    return {"val_loss": float(trial.params.get("gamma", 1))}
