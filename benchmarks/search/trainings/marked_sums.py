"""Sums of the two marked numbers of a series by recurrent networks: nothing is learnt for a long time."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.search.trainings.networks import (
    OPTIMIZERS,
    SCHEDULES,
    batches,
    optimizer_of,
    schedule_epochs,
    step,
    training_work,
)
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES, LENGTH = 30, 400, 12
CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return numbers and marks, of shape (series, LENGTH, 2), and the sums; the last 200 are for validation.

    Hochreiter and Schmidhuber 1997, experiment 4, with short series.
    """
    rng = np.random.default_rng(21)
    count = SAMPLES + 200
    numbers, marks = rng.uniform(-1, 1, (count, LENGTH)), np.zeros((count, LENGTH))
    for row in marks:
        row[rng.choice(LENGTH, 2, replace=False)] = 1
    x = torch.tensor(np.stack([numbers, marks], 2), dtype=torch.float32)
    return x, torch.tensor((numbers * marks).sum(1), dtype=torch.float32)


class Adder(nn.Module):
    def __init__(self, cell: str, width: int) -> None:
        super().__init__()
        self.cell, self.head = CELLS[cell](2, width, batch_first=True), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.cell(x)[0][:, -1])[:, 0]
        return found


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    x, y = data()
    model = Adder(params["cell"], params["width"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params.get("batch_size", 20)):
            step(optimizer, ((model(x[batch]) - y[batch]) ** 2).mean(), params.get("max_norm"))
        with torch.no_grad():
            yield (float(((model(x[SAMPLES:]) - y[SAMPLES:]) ** 2).mean()),)


def work(params: Params) -> Work:
    operations = LENGTH * GATES[params["cell"]] * params["width"] * (params["width"] + 2)
    return training_work(SAMPLES, params.get("batch_size", 20), operations)


TRAINING = Training(
    data="generated: series of 12 numbers, two of them marked; 400 for training, 200 for validation",
    model="recurrent network, one of three",
    space={
        "cell": {"choices": ["rnn", "gru", "lstm"], "structural": True},
        "width": {"low": 4, "high": 40, "log": True},
        "learning_rate": {"low": 3e-4, "high": 0.3, "log": True},
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "clip": {"choices": {"none": {}, "norm": {"max_norm": {"low": 0.03, "high": 10.0, "log": True}}}},
        "batch_size": {"choices": [10, 20, 50]},
    },
    epochs=EPOCHS,
    metric="val_mse",
    direction="minimize",
    configurations=300,
    run=run,
    work=work,
)
