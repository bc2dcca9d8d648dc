"""Search eight configurations with the default sampler and a budget of eight: each is tried once.

---
engines: [local]
study:
  search_space: {a: {choices: [0, 1]}, b: {choices: [0, 2]}, c: {choices: [0, 4]}}
  sampler: kernel
  budget: {trials: 8}
  mlflow: false
expect:
  metrics: {val_loss: "params['a'] + params['b'] + params['c']", again: 0}
"""


def train(trial):
    configuration = trial.params["a"] + trial.params["b"] + trial.params["c"]
    seen = trial.root / "configurations"
    again = str(configuration) in seen.read_text().split() if seen.exists() else False
    with seen.open("a") as file:
        file.write(f"{configuration}\n")
    return {"val_loss": configuration, "again": int(again)}
