"""Print JSON that is nested 100,000 deep, holds numbers beyond all floats, and keys with surrogates.

---
engines: [local]
study: {command: [python, objective.py], mlflow: false}
expect:
  history: {1-2: {val_loss: 1 / step}}
  metrics: {val_loss: 0.5}
"""

print('{"epoch": 1, "val_loss": 1.0}')
print('{"epoch": 2, "deep": ' + '{"a": ' * 100_000 + "1" + "}" * 100_000 + "}")
print('{"event": "x", "epoch": 1' + "0" * 5000 + "}")
print('{"epoch": 2, "val_loss": 0.5}')
