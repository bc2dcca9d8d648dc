"""Return a metric with a name of a megabyte, and miss the study's metric among 50,000 others.

---
engines: [local, inline]
study: {budget: {trials: 2}}
expect:
  exit: [0, 1]
  trials:
    0: {state: FAIL, cause: invalid, or: [{metrics: any}]}
    1: {state: FAIL, cause: invalid, reason: val_loss}
  most: {report.md: 1_500_000, report.json: 1_500_000}
"""


def train(trial):
    if trial.number == 0:
        return {"val_loss": 0.5, "n" * 1_000_000: 1.0}
    return {f"metric {index}": index / 2 for index in range(50_000)}
