"""Print numbers that are no metrics before the training and after it, one of the study's metrics among them.

---
engines: [local]
study: {command: [python, objective.py], mlflow: false}
expect: {history: {1-3: {val_loss: 1 / step}}, metrics: {val_loss: 1 / 3}}
"""

import json

print(json.dumps({"parameters": 1_200_000, "layers": 3}))
for epoch in range(1, 4):
    print(json.dumps({"epoch": epoch, "val_loss": 1 / epoch}))
print(json.dumps({"seconds": 12.5}))
