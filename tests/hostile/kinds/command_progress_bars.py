r"""Print a progress bar that returns to the start of the line before each JSON line, with escapes and odd bytes.

---
engines: [local]
study: {command: [python, objective.py], mlflow: false}
expect: {history: {1-3: {val_loss: 1 / step}}, metrics: {val_loss: 1 / 3}}
"""

import json
import sys

out = sys.stdout.buffer
for epoch in range(1, 4):
    for part in range(5):
        out.write(f"\r\x1b[2K{20 * part} % ".encode() + b"\xff\xfe")
    out.write(b"\r" + json.dumps({"epoch": epoch, "val_loss": 1 / epoch}).encode() + b"\r\n")
out.write(b'{"epoch": 4, "val_loss": \xff}\n{"epoch": 4\n{}\n[1]\n{"epoch": "four", "val_loss": 1}\n')
out.write(b'{"epoch": true, "val_loss": 1}\n{"epoch": null, "val_loss": 1}\n{"epoch": 1.5, "val_loss": 1}\n')
out.write(b'{"epoch": 99999999999999999999, "val_loss": 1}\n{"epoch": -1, "val_loss": 1}\n')
