"""Report through hpo.report in the function and in a thread of it, never through the handle.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect: {history: {1-3: {val_loss: 1 / step}, 4: {val_loss: 9.0}}}
"""

import threading

import hpo


def train(trial):
    for epoch in range(1, 4):
        hpo.report(epoch, val_loss=1 / epoch)
    thread = threading.Thread(target=hpo.report, args=(4,), kwargs={"val_loss": 9})
    thread.start()
    thread.join()
    return {"val_loss": hpo.current_trial().params["x"]}
