"""Remove the history file between two reports, and leave a folder in its place in the last trial.

---
engines: [local, ray, inline]
expect: {history: any}
"""


def train(trial):
    path = trial.directory / "history.jsonl"
    trial.report(1, val_loss=2.0)
    path.unlink(missing_ok=True)
    if trial.number == 2:
        path.mkdir()
    trial.report(2, val_loss=1.0)
    return {"val_loss": trial.params["x"]}
