"""Search choices whose keys are true, false, numbers and null; then go on.

---
engines: [local]
study:
  search_space:
    augment: {choices: {true: {strength: {low: 0.0, high: 1.0}}, false: {}}}
    batch_size: {choices: {16: {}, 32: {steps: {low: 1, high: 4}}}}
    dropout: {choices: [null, 0.5]}
  budget: {trials: 8}
run: {again: 12}
expect: {metrics: {val_loss: "1.0 if params['augment'] in (True, 'true') else 0.0"}}
"""


def train(trial):
    params = trial.params
    assert isinstance(params["augment"], bool)
    assert params["batch_size"] in (16, 32)
    assert isinstance(params["batch_size"], int)
    assert ("strength" in params) == params["augment"]
    return {"val_loss": float(params["augment"])}
