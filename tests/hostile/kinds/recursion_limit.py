"""Leave a recursion limit that is too low for most libraries, or so high that the stack ends first.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect: {metrics: {val_loss: x, limit: 1000}}
"""

import sys


def train(trial):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit((60, 10**8, 60)[trial.number])
    return {"val_loss": trial.params["x"], "limit": limit}
