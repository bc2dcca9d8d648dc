"""Fit a line to noisy points by gradient descent. Put your own training in its place."""

import argparse
import json
import random
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--optimizer", choices=["sgd", "momentum"], default="sgd")
parser.add_argument("--momentum", type=float, default=0.0)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("."), help="where the weights are kept")
args = parser.parse_args()

data = random.Random(0)  # not the trial's seed: all trials are compared on the same points
points = [(x, 2 * x - 1 + data.gauss(0, 0.1)) for x in (data.uniform(-1, 1) for _ in range(400))]
train, val = points[:300], points[300:]

order = random.Random(args.seed)
slope, intercept = 0.0, 0.0
speed = [0.0, 0.0]
for epoch in range(1, args.epochs + 1):
    order.shuffle(train)
    for start in range(0, len(train), args.batch_size):
        batch = train[start : start + args.batch_size]
        errors = [(slope * x + intercept - y, x) for x, y in batch]
        gradient = [2 * sum(e * x for e, x in errors) / len(batch), 2 * sum(e for e, _ in errors) / len(batch)]
        speed = [args.momentum * v + g for v, g in zip(speed, gradient, strict=True)]
        slope, intercept = slope - args.lr * speed[0], intercept - args.lr * speed[1]
    val_loss = sum((slope * x + intercept - y) ** 2 for x, y in val) / len(val)
    # One JSON line an epoch is all that hpo reads; whatever else is printed is kept in the trial's output.log.
    print(json.dumps({"step": epoch, "val_loss": val_loss}), flush=True)

(args.out / "weights.json").write_text(json.dumps({"slope": slope, "intercept": intercept}))
