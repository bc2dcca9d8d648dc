"""Print null where JavaScript, pandas and orjson have NaN, and Python's own NaN.

---
engines: [local]
study: {command: [python, objective.py]}
expect:
  history: {1: {val_loss: 0.5, norm: nan}, 2: {val_loss: 0.25, norm: 1.5}, 3: {val_loss: 0.125, norm: nan}}
  metrics: {val_loss: 0.125}
"""

print('{"step": 1, "val_loss": 0.5, "norm": null}')
print('{"step": 2, "val_loss": 0.25, "norm": 1.5}')
print('{"step": 3, "val_loss": 0.125, "norm": NaN}')
