"""Catch every exception in the training loop, the one that stops the trial too.

---
engines: [local]
study: {pruner: {name: threshold, upper: 0.0}, mlflow: false}
expect:
  history: any
  says: ["ignor|swallow|caught|went on"]
"""


def train(trial):
    best = 9.0
    for epoch in range(1, 6):
        try:
            best = min(best, trial.params["x"] + 1 / epoch)
            trial.report(epoch, val_loss=best)
        except Exception as error:
            print("passed over", type(error).__name__)
    return {"val_loss": trial.params["x"]}
