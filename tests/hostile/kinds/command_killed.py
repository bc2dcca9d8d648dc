"""Kill its own worker from within a command, then itself; nothing stays in the temporary folder.

---
engines: [local]
study: {command: [python, objective.py], mlflow: false}
expect: {exit: 1, state: FAIL, cause: lost, reason: SIGKILL}
"""

import os
import signal

os.kill(os.getppid(), signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
