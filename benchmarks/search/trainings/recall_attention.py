"""Recall by one layer of attention: which value stood behind the key that is asked for? Late, then sudden."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from benchmarks.search.trainings.networks import SCHEDULES, batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, PAIRS, KEYS, VALUES = 40, 480, 6, 10, 6


@cache
def data() -> tuple[Tensor, Tensor, Tensor]:
    """Return keys and values of each sequence, and the asked place. 100 sequences at the end are for validation."""
    generator = torch.Generator().manual_seed(10)
    count = SAMPLES + 100
    keys = torch.rand((count, KEYS), generator=generator).argsort(1)[:, :PAIRS]
    values = torch.randint(VALUES, (count, PAIRS), generator=generator)
    return keys, values, torch.randint(PAIRS, (count,), generator=generator)


class Recall(nn.Module):
    def __init__(self, width: int, init_scale: float, dropout: float, norm: bool) -> None:
        super().__init__()
        self.key, self.value = nn.Embedding(KEYS, width), nn.Embedding(VALUES, width)
        self.projections = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.head = nn.Sequential(nn.LayerNorm(width) if norm else nn.Identity(), nn.Linear(width, VALUES))
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            for embedding in (self.key, self.value):
                embedding.weight.mul_(init_scale)

    def forward(self, keys: Tensor, values: Tensor, asked: Tensor) -> Tensor:
        seen = self.dropout(self.key(keys) + self.value(values))
        question = self.key(keys.gather(1, asked[:, None]))
        query, key, value = (p(x) for p, x in zip(self.projections, (question, seen, seen), strict=True))
        found: Tensor = self.head((question + scaled_dot_product_attention(query, key, value))[:, 0])
        return found


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    keys, values, asked = data()
    answers = values.gather(1, asked[:, None])[:, 0]
    model = Recall(params["width"], params["init_scale"], params["dropout"], params["layer_norm"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, cross_entropy(model(keys[batch], values[batch], asked[batch]), answers[batch]))
        model.eval()
        with torch.no_grad():
            scores = model(keys[SAMPLES:], values[SAMPLES:], asked[SAMPLES:])
        if not scores.isfinite().all():
            return
        yield (float((scores.argmax(1) != answers[SAMPLES:]).float().mean()),)


TRAINING = Training(
    data="generated: 6 pairs of key and value and a question; 480 for training, 100 for validation",
    model="one layer of attention",
    space={
        "learning_rate": {"low": 3e-4, "high": 1.0, "log": True},
        "optimizer": {
            "choices": {
                "adam": {"beta2": {"low": 0.8, "high": 0.999}},
                "sgd": {"momentum": {"low": 0.0, "high": 0.99}},
            }
        },
        "schedule": SCHEDULES,
        "warmup": {"low": 0.0, "high": 0.5},
        "width": {"low": 4, "high": 32, "log": True},
        "init_scale": {"low": 0.03, "high": 3.0, "log": True},
        "layer_norm": {"choices": [True, False]},
        "dropout": {"low": 0.0, "high": 0.5},
        "batch_size": {"choices": [40, 80, 160]},
    },
    epochs=EPOCHS,
    metric="val_error",
    direction="minimize",
    configurations=300,
    run=run,
    work=lambda p: training_work(SAMPLES, p["batch_size"], 9 * p["width"] ** 2),
)
