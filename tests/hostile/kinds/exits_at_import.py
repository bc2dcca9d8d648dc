"""Call sys.exit when the module is imported.

---
engines: [local, ray]
study: {mlflow: false}
expect: {exit: 1, state: FAIL, cause: exception, reason: 'sys\\.exit|import'}
"""

import sys

sys.exit("no data here")


def train(trial):
    return {"val_loss": trial.params["x"]}
