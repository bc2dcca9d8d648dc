"""Report 3,000 metrics in one step.

---
engines: [local]
study: {budget: {trials: 1}}
expect:
  history: any
  most: {report.json: 2_000_000}
"""


def train(trial):
    for step in (1, 2):
        trial.report(step, val_loss=1.0, **{f"layer {index}": index * step for index in range(3000)})
    return {"val_loss": trial.params["x"]}
