"""Parse the command line with argparse, as a script with options of its own.

---
engines: [local, ray]
study: {mlflow: false}
expect: {metrics: {val_loss: x + 3, arguments: 1}}
"""

import argparse
import sys
from pathlib import Path


def train(trial):
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    assert Path(sys.argv[0]).name == "objective.py", sys.argv
    return {"val_loss": trial.params["x"] + options.epochs, "arguments": len(sys.argv)}
