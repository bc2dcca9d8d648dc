"""Report the training metrics and the validation metrics of a step one after the other.

---
engines: [local, ray, inline]
fast: true
study: {red_flags: [{name: gap, when: "val_loss > 1.9 * train_loss", from_epoch: 1, action: warn}]}
expect:
  history: {1-5: {train_loss: 1 / step, val_loss: 2 / step}}
  says: ["goes on with a warning: red flag 'gap'"]
"""


def train(trial):
    for epoch in range(1, 6):
        trial.report(epoch, train_loss=1 / epoch)
        trial.report(epoch, val_loss=2 / epoch)
    return {"val_loss": trial.params["x"]}
