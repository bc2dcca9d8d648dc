"""Addition of three residues modulo 11 by one block of attention: the samples held out are known late."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from benchmarks.search.trainings.networks import SCHEDULES, batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, PASSES, PRIME, SAMPLES = 30, 4, 11, 240


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return residues, shape (samples, 3), and their sums modulo PRIME; the last 400 are for validation."""
    residues = torch.cartesian_prod(*[torch.arange(PRIME)] * 3)
    drawn = residues[torch.randperm(len(residues), generator=torch.Generator().manual_seed(53))[: SAMPLES + 400]]
    return drawn, drawn.sum(1) % PRIME


class Block(nn.Module):
    """Reads the residues and a last token, at whose place the sum is scored (Power et al. 2022).

    init_scale: factor of the embeddings at first.
    """

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.heads = params["heads"]
        width, hidden = self.heads * params["head_width"], params["hidden"]
        self.embed = nn.Embedding(PRIME + 1, width)
        self.attention, self.joined = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.head, self.dropout = nn.Linear(width, PRIME), nn.Dropout(params["dropout"])
        with torch.no_grad():
            self.embed.weight.mul_(params["init_scale"])

    def forward(self, residues: Tensor) -> Tensor:
        tokens = self.embed(nn.functional.pad(residues, (0, 1), value=PRIME))
        split = self.attention(tokens).unflatten(2, (3 * self.heads, -1)).transpose(1, 2)
        query, key, value = split.chunk(3, 1)
        found = scaled_dot_product_attention(query[:, :, -1:], key, value)
        state = tokens[:, -1] + self.joined(found.flatten(1))
        scores: Tensor = self.head(state + self.outer(self.dropout(self.inner(state).relu())))
        return scores


def run(params: Params, seed: int) -> Curve:
    """An epoch is PASSES passes over the samples. smoothing: share of each label given to all classes."""
    torch.manual_seed(seed)
    residues, sums = data()
    model = Block(params)
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for _ in range(PASSES):
            for batch in batches(SAMPLES, params["batch_size"]):
                scores = model(residues[batch])
                step(optimizer, cross_entropy(scores, sums[batch], label_smoothing=params["smoothing"]))
        with torch.no_grad():
            scores = model.eval()(residues[SAMPLES:])
        if not scores.isfinite().all():
            return
        yield (float((scores.argmax(1) == sums[SAMPLES:]).float().mean()),)


def operations(width: int, hidden: int) -> int:
    return width * (12 * width + 8 + width + 2 * hidden + PRIME)


TRAINING = Training(
    data="three residues modulo 11 and their sum, 240 samples for training, 400 for validation",
    model="one block of a transformer",
    space={
        "heads": {"choices": [1, 2, 4]},
        "head_width": {"low": 2, "high": 24, "log": True},
        "hidden": {"low": 8, "high": 128, "log": True},
        "init_scale": {"low": 0.03, "high": 3.0, "log": True},
        "dropout": {"low": 0.0, "high": 0.6},
        "smoothing": {"low": 0.0, "high": 0.5},
        "weight_decay": {"low": 1e-4, "high": 3.0, "log": True},
        "learning_rate": {"low": 3e-4, "high": 0.3, "log": True},
        "beta2": {"choices": [0.9, 0.98, 0.999]},
        "schedule": SCHEDULES,
        "batch_size": {"choices": [40, 70, 110]},
    },
    epochs=EPOCHS,
    metric="val_accuracy",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: training_work(
        PASSES * SAMPLES, p["batch_size"], operations(p["heads"] * p["head_width"], p["hidden"])
    ),
)
