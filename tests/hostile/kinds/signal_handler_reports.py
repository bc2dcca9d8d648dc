"""Report from a signal handler in the middle of reports.

---
engines: [local]
study: {budget: {trials: 2}, engine: {trial_timeout: 60}, mlflow: false}
expect:
  history: any
  metrics: {val_loss: x, handled: value > 0}
  or: [{state: FAIL, cause: exception, reason: report|maximum recursion depth, history: any}]
"""

import signal


def train(trial):
    handled = []

    def handler(number, frame):
        handled.append(number)
        try:
            trial.report(10_000 + len(handled), inner=1.0)
        except RuntimeError as error:
            print("refused:", error)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for step in range(300):
            trial.report(step, val_loss=1.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {"val_loss": trial.params["x"], "handled": len(handled)}
