"""Run as a command beside files that are called as modules of Python and of hpo, which it does not use.

---
engines: [local]
study: {command: [python, objective.py, "{x}"], mlflow: false}
expect: {history: {1-3: {val_loss: x + step}}, metrics: {val_loss: x + 3}}
"""

import sys

for step in range(1, 4):
    print(f'{{"step": {step}, "val_loss": {float(sys.argv[1]) + step}}}')
