"""Fork four processes that report all at once, 60 metrics each; every report arrives whole or is refused.

---
engines: [local, ray]
fast: true
study: {budget: {trials: 2}, mlflow: false}
expect:
  history: {}
  metrics: {val_loss: x, accepted: 0, refused: 4, died: 0}
  or:
    - metrics: {val_loss: x, accepted: 400, refused: 0, died: 0}
      history: {0-99: {m0: step, m1: step + 1, m2: step + 2, m3: step + 3}}
"""

import multiprocessing


def report(trial, rank, queue):
    accepted = refused = 0
    try:
        for step in range(100):
            # Only the first name of each is a rank's own.
            trial.report(step, **{f"m{rank}": step + rank})
            accepted += 1
    except Exception:
        refused = 1
    queue.put((accepted, refused))


def train(trial):
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    ranks = [context.Process(target=report, args=(trial, rank, queue)) for rank in range(4)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    counts = []
    while not queue.empty():
        counts.append(queue.get())
    return {
        "val_loss": trial.params["x"],
        "accepted": sum(accepted for accepted, _ in counts),
        "refused": sum(refused for _, refused in counts),
        "died": 4 - len(counts),
    }
