"""Search a grid of steps that floats cannot hold, in two runs; no cell is tried twice.

---
engines: [local]
study:
  search_space: {rate: {low: 0.1, high: 0.5, step: 0.1}, other: {choices: [0.3, 0.30000000000000004]}}
  sampler: grid
  budget: {trials: 6}
  mlflow: false
run: {again: 10}
expect: {metrics: {val_loss: "params['rate']", again: 0}}
"""


def train(trial):
    cell = f"{trial.params['rate']:.6f} {trial.params['other']!r}\n"
    seen = trial.root / "cells"
    again = seen.exists() and cell in seen.read_text().splitlines(keepends=True)
    with seen.open("a") as file:
        file.write(cell)
    return {"val_loss": trial.params["rate"], "again": int(again)}
