"""Print the study's metric on a line without a step at the end, beside texts and nested numbers.

---
engines: [local]
study: {command: [python, objective.py, "{x}"], mlflow: false}
expect:
  history: {1-2: {val_loss: 9.0}}
  metrics: {val_loss: x, test.loss: 0.5, test.auc: 0.75}
"""

import json
import sys

for epoch in (1, 2):
    print(json.dumps({"epoch": epoch, "val_loss": 9.0}))
print(json.dumps({"val_loss": float(sys.argv[1]), "test": {"loss": 0.5, "auc": 0.75, "of": "best"}, "model": "m"}))
