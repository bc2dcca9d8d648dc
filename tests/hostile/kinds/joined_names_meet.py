"""Search parameters whose names, joined by dots, are the same.

---
engines: [local]
study:
  search_space:
    net:
      choices:
        a: {b: {choices: {c: {x: {low: 0, high: 5}}, d: {}}}}
        a.b.c: {x: {low: 0.0, high: 1.0}}
  budget: {trials: 12}
  mlflow: false
expect: {exit: 2, says: [study.yaml, a.b.c]}
"""


def train(trial):
    return {"val_loss": float(trial.params.get("x", 1))}
