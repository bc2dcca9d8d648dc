"""Raise Pruned with an error, an empty text, None, and a number in place of a text.

---
engines: [local, ray, inline]
study: {budget: {trials: 5}}
expect:
  trials:
    0: {state: PRUNED, cause: objective, reason: shapes do not fit}
    1: {state: PRUNED, cause: objective}
    2: {state: PRUNED, cause: objective}
    3: {state: PRUNED, cause: objective, reason: "3"}
"""

import hpo


def train(trial):
    if trial.number == 0:
        try:
            raise ValueError("shapes do not fit")
        except ValueError as error:
            raise hpo.Pruned(error)  # noqa: B904
    if trial.number < 4:
        raise hpo.Pruned((None, "", None, 3)[trial.number])
    return {"val_loss": trial.params["x"]}
