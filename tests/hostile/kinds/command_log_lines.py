"""Print JSON lines of a structured logger, with a step and texts, between those of the training.

---
engines: [local, ray]
study: {command: [python, objective.py], mlflow: false}
expect: {history: {1-3: {val_loss: 1 / step}}, metrics: {val_loss: 1 / 3}}
"""

import json

print(json.dumps({"step": 0, "event": "start", "level": "info"}))
for epoch in range(1, 4):
    print(json.dumps({"epoch": epoch, "event": "begins", "tags": ["a"], "data": {"split": "train"}}))
    print(json.dumps({"epoch": epoch, "val_loss": 1 / epoch, "phase": "val"}))
print(json.dumps({"event": "end"}))
