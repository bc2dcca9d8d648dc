"""Replace builtins and functions of the standard library, as frameworks that patch do.

---
engines: [local, ray]
study: {mlflow: false}
expect: {state: COMPLETE}
"""

import builtins
import json
import os
import pickle
import time


def refuse(*arguments, **options):
    raise AssertionError("this is patched")


def train(trial):
    time.time = time.monotonic = lambda: 0.0
    builtins.print = builtins.open = refuse
    json.dumps = json.loads = refuse
    os.getcwd = os.path.exists = refuse
    pickle.Pickler = None
    return {"val_loss": trial.params["x"]}
