"""Turn every warning into an error.

---
engines: [local, ray, inline]
study: {mlflow: false}
"""

import warnings


def train(trial):
    warnings.warn("only a warning", stacklevel=1)
    warnings.simplefilter("error")
    return {"val_loss": trial.params["x"]}
