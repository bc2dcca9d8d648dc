"""Print 30 MB with control characters, and fail.

---
engines: [local]
expect: {exit: 1, state: FAIL, cause: exception, reason: at the end}
"""

import sys


def train(trial):
    for _ in range(300):
        sys.stdout.write("\x1b[31m\x00\ufffd" + "x" * 100_000 + "\r")
    raise ValueError("at the end")
