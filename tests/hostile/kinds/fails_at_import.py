r"""Raise an error without words and with a surrogate when the module is imported.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect: {exit: 1, state: FAIL, cause: exception, reason: import|Mute}
"""


class Mute(BaseException):
    def __str__(self):
        raise RuntimeError("caf\udce9")


raise Mute


def train(trial):
    return {"val_loss": trial.params["x"]}
