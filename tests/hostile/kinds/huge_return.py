"""Return two million predictions in place of metrics, beside them, and 50,000 metrics.

---
engines: [local, inline]
study: {budget: {trials: 4}}
expect:
  most: {report.json: 8_000_000}
  trials:
    0: {state: FAIL, cause: invalid, reason: list}
    1: {state: FAIL, cause: invalid, reason: "'predictions'"}
    2: {metrics: any}
"""


def train(trial):
    if trial.number == 0:
        return [0.1] * 2_000_000
    if trial.number == 1:
        return {"val_loss": 0.5, "predictions": [0.1] * 2_000_000}
    if trial.number == 2:
        return {"val_loss": 0.25} | {f"metric {index}": index / 2 for index in range(50_000)}
    return {"val_loss": trial.params["x"]}
