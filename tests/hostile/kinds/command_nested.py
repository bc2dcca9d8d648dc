"""Print nested metrics and epochs that are integral floats, in two lines a step.

---
engines: [local]
study: {command: [python, objective.py]}
expect:
  history: {1-3: {train.loss: 1 / step, train.deep.norm: step, val_loss: 2 / step, eval_loss: 3.0}}
  metrics: any
"""

import json

for epoch in range(1, 4):
    train = {"loss": 1 / epoch, "deep": {"norm": epoch, "name": "l2"}, "curve": [1, 2]}
    print(json.dumps({"epoch": float(epoch), "train": train}))
    print(json.dumps({"epoch": float(epoch), "val_loss": 2 / epoch, "eval_loss": 3}))
