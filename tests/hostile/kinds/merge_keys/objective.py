"""Share settings in study.yaml by YAML's merge key; it merges, or it is refused with its line.

---
engines: [local]
expect:
  exit: [0, 2]
  metrics: {val_loss: 3.2}
"""


def train(trial):
    model = trial.constants["model"]
    assert set(model) == {"epochs", "rate"}, model
    return {"val_loss": model["epochs"] + model["rate"]}
