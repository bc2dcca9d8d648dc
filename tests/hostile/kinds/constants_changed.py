"""Change the trial's constants and parameters, at any depth.

---
engines: [local, ray, inline]
study:
  constants: {layers: [1, 2], more: {deep: {a: 1}}}
  mlflow: false
run: {again: 4}
expect: {metrics: {val_loss: x, length: 2, names: 1}}
"""


def train(trial):
    layers, deep = trial.constants["layers"], trial.constants["more"]["deep"]
    found = len(layers), len(deep)
    for change in (lambda: layers.append(3), lambda: deep.update(b=2), lambda: trial.constants.update(c=1)):
        try:
            change()
        except (AttributeError, TypeError) as error:  # it may be read-only
            print(error)
    return {"val_loss": trial.params["x"], "length": found[0], "names": found[1]}
