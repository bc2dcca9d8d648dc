"""Report from four threads at once, each its own metrics of the same steps.

---
engines: [local, ray, inline]
expect:
  history: {0-99: {t0: 100 * step, t1: 100 * step + 1, t2: 100 * step + 2, t3: 100 * step + 3}}
  metrics: {val_loss: x, failed: 0}
"""

import threading


def train(trial):
    failed = []

    def report(rank):
        try:
            for step in range(100):
                trial.report(step, **{f"t{rank}": 100 * step + rank})
        except Exception as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=report, args=(rank,)) for rank in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"val_loss": trial.params["x"], "failed": len(failed)}
