"""Fork four processes that report all at once, 60 metrics each; every report arrives whole or is refused.

---
engines: [local, ray]
study: {budget: {trials: 2}, mlflow: false}
expect:
  history: any
  metrics: {val_loss: x, accepted: 800, refused: 0, died: 0, rows: 800}
  or: [{history: {}, metrics: {val_loss: x, accepted: 0, refused: 4, died: 0, rows: 0}}]
"""

import json
import multiprocessing


def report(trial, rank, queue):
    accepted = refused = 0
    try:
        for step in range(200):
            trial.report(step, **{f"rank{rank}_{index}": float(index) for index in range(60)})
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
    history = trial.directory / "history.jsonl"
    rows = [json.loads(line) for line in history.read_text().splitlines()] if history.exists() else []
    return {
        "val_loss": trial.params["x"],
        "accepted": sum(accepted for accepted, _ in counts),
        "refused": sum(refused for _, refused in counts),
        "died": 4 - len(counts),
        "rows": sum(len(row["metrics"]) == 60 for row in rows),
    }
