"""Lower the limits of open files and of a file's size.

---
engines: [local, ray]
study: {mlflow: false}
expect: {metrics: {val_loss: x, same: 1}}
"""

import resource

FIRST = []


def train(trial):
    limits = [resource.getrlimit(kind) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)]
    FIRST.append(limits)
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, limits[0][1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1][1]))
    return {"val_loss": trial.params["x"], "same": int(limits == FIRST[0])}
