r"""Report and return metrics whose names hold spaces, slashes, quotes, signs, 100 letters, or differ in case alone.

---
engines: [local, ray, inline]
study: {budget: {trials: 2}}
expect:
  metrics: {val_loss: x, "loss (train) %": 1.0, größe/µ: 2.0, Loss: 3.0, loss: 4.0, a//b: 5.0, ../c: 6.0}
  history:
    1-2:
      val_loss: step
      "loss (train) %": 1.0
      größe/µ: 2.0
      Loss: 3.0
      loss: 4.0
      a//b: 5.0
      ../c: 6.0
      nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn: 7.0
      "\U0001F600": 8.0
      seconds: 9.0
      final/val_loss: 10.0
      "'; drop table metrics; --": 11.0
"""

NAMES = {"loss (train) %": 1, "größe/µ": 2, "Loss": 3, "loss": 4, "a//b": 5, "../c": 6}
MORE = {"n" * 100: 7, "\U0001f600": 8, "seconds": 9, "final/val_loss": 10, "'; drop table metrics; --": 11}


def train(trial):
    for step in (1, 2):
        trial.report(step, val_loss=step, **NAMES, **MORE)
    return {"val_loss": trial.params["x"], **NAMES}
