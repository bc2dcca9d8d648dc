"""Add handlers to the root logger, a file each, and silence all loggers.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect: {metrics: {val_loss: x, more_handlers: 0, more_files: 0, level: 30, disabled: 0}}
"""

import logging
import os

FIRST = {}


def train(trial):
    root = logging.getLogger()
    FIRST.setdefault("handlers", len(root.handlers))
    FIRST.setdefault("files", len(os.listdir("/proc/self/fd")))
    found = {
        "more_handlers": len(root.handlers) - FIRST["handlers"],
        "more_files": len(os.listdir("/proc/self/fd")) - FIRST["files"],
        "level": root.level,
        "disabled": logging.root.manager.disable,
    }
    for name in ("a.log", "b.log"):
        root.addHandler(logging.FileHandler(trial.directory / name))
    root.setLevel(logging.DEBUG)
    logging.disable(logging.CRITICAL)
    return {"val_loss": trial.params["x"], **found}
