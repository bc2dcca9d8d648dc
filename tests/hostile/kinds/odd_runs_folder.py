"""Keep the runs in a folder whose name means something else in a URL.

---
engines: [local]
run: {runs: "runs %41 100% ?a=b #1 ö"}
expect: {history: {1: {val_loss: 1.0}}}
"""


def train(trial):
    trial.report(1, val_loss=1.0)
    return {"val_loss": trial.params["x"]}
