r"""Report metrics with a surrogate in the name, with control characters, empty, and a name of 100,000 letters.

---
engines: [local, ray, inline]
study: {budget: {trials: 4}}
expect:
  exit: [0, 1]
  state: FAIL
  cause: exception
  reason: TypeError|ValueError
  or: [{history: any}]
  most: {report.md: 500_000, report.json: 1_000_000}
"""

NAMES = ("caf\udce9", "\x1b[31m\x00", "", "n" * 100_000)


def train(trial):
    trial.report(1, **{NAMES[trial.number]: 1.0})
    return {"val_loss": trial.params["x"]}
