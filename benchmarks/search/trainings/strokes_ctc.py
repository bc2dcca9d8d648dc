"""Symbols written as lines of unknown length, read by connectionist temporal classification."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, FRAMES, SYMBOLS, CHANNELS, MOST = 25, 160, 30, 5, 4, 5


@cache
def data() -> tuple[Tensor, Tensor, Tensor]:
    """Return frames, shape (sequences, CHANNELS, FRAMES), symbols from 1, shape (sequences, MOST), and their counts.

    A symbol is a line in the channels, of 3 or 4 frames after a gap of up to 2. The last 100 are for validation.
    """
    rng = np.random.default_rng(52)
    starts, ends = rng.normal(size=(2, SYMBOLS, CHANNELS))
    counts = rng.integers(3, MOST + 1, size=SAMPLES + 100)
    frames = rng.normal(scale=0.25, size=(len(counts), CHANNELS, FRAMES))
    symbols = rng.integers(SYMBOLS, size=(len(counts), MOST))
    for sequence, written, count in zip(frames, symbols, counts, strict=True):
        place = 0
        for symbol in written[:count]:
            length = int(rng.integers(3, 5))
            place += length + int(rng.integers(3))
            sequence[:, place - length : place] += np.linspace(starts[symbol], ends[symbol], length, axis=1)
    return torch.tensor(frames, dtype=torch.float32), torch.tensor(symbols + 1), torch.tensor(counts)


class Reader(nn.Module):
    """Scores the blank and the symbols at every second frame, shape (FRAMES / 2, sequences, 1 + SYMBOLS)."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        width, states, around = params["width"], params.get("state_width", params["width"]), params.get("dilation", 1)
        self.see = nn.Conv1d(CHANNELS, width, 2 * params["reach"] + 1, 2, params["reach"])
        self.recurrent = nn.GRU(width, states) if params["encoder"] == "recurrent" else None
        self.convolution = nn.Conv1d(width, width, 3, padding=around, dilation=around)
        self.head = nn.Linear(states, 1 + SYMBOLS)
        self.head.bias.data[0] = params["blank_bias"]

    def forward(self, x: Tensor) -> Tensor:
        seen = self.see(x).relu()
        if self.recurrent is None:
            return torch.as_tensor(self.head(self.convolution(seen).relu().permute(2, 0, 1)))
        return torch.as_tensor(self.head(self.recurrent(seen.permute(2, 0, 1))[0]))


def label_error(best: Tensor, symbols: Tensor, counts: Tensor) -> float:
    """Return the edit distances over the lengths; best: classes, of which runs are one symbol (Graves et al. 2006)."""
    total = 0
    for row, written, count in zip(best.T.tolist(), symbols.tolist(), counts.tolist(), strict=True):
        costs = list(range(count + 1))
        for symbol in (each for each, before in zip(row, [0, *row], strict=False) if each not in (0, before)):
            corner, costs[0] = costs[0], costs[0] + 1
            for place, other in enumerate(written[:count], 1):
                cheapest = min(corner + (symbol != other), costs[place - 1] + 1, costs[place] + 1)
                corner, costs[place] = costs[place], cheapest
        total += costs[-1]
    return total / int(counts.sum())


def run(params: Params, seed: int) -> Curve:
    """confidence_penalty: weight of the negative entropy of each frame's classes (Pereyra et al. 2017)."""
    torch.manual_seed(seed)
    x, symbols, counts = data()
    optimizer = optimizer_of(model := Reader(params), params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            scores = model(x[batch] + params["noise"] * torch.randn(len(batch), CHANNELS, FRAMES)).log_softmax(2)
            loss = ctc_loss(scores, symbols[batch], torch.full_like(batch, FRAMES // 2), counts[batch])
            step(optimizer, loss + params["confidence_penalty"] * (scores.exp() * scores).sum(2).mean())
        scores = model(x[SAMPLES:]).detach()
        if not scores.isfinite().all():
            return
        yield (label_error(scores.argmax(2), symbols[SAMPLES:], counts[SAMPLES:]),)


WIDTH, DILATION = {"low": 4, "high": 40, "log": True}, {"choices": [1, 2, 4]}
TRAINING = Training(
    data="generated: 30 frames of 3 to 5 symbols, 160 sequences for training, 100 for validation",
    model="convolutional or recurrent encoder with connectionist temporal classification",
    space={
        "encoder": {"choices": {"convolution": {"dilation": DILATION}, "recurrent": {"state_width": WIDTH}}},
        "width": WIDTH,
        "reach": {"low": 0, "high": 4},
        "blank_bias": {"low": -3.0, "high": 3.0},
        "confidence_penalty": {"low": 1e-4, "high": 1.0, "log": True},
        "noise": {"low": 0.0, "high": 0.8},
        "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [16, 24, 40]},
    },
    epochs=EPOCHS,
    metric="val_label_error",
    direction="minimize",
    configurations=320,
    run=run,
    work=lambda p: training_work(
        SAMPLES, p["batch_size"], FRAMES * p["width"] * (4 * p["reach"] + 2 + 2 * p.get("state_width", p["width"]))
    ),
)
