"""Make a temporary file while $TMPDIR is long.

---
engines: [local, ray, inline]
study: {mlflow: false}
run:
  tmpdir: job-4711/of-a-queueing-system-that-gives-every-job-a-folder-of-its-own/whose-name-says-who/and-when/and-where
"""

import tempfile


def train(trial):
    with tempfile.NamedTemporaryFile() as file:
        assert "job-4711" in file.name
    return {"val_loss": trial.params["x"]}
