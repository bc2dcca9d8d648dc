"""Symbols to be repeated after a delay, by recurrent networks: nothing is learnt for a long time, and often never."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES, SYMBOLS, COPIED, DELAY = 30, 240, 5, 4, 8
LENGTH = 2 * COPIED + DELAY
CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return inputs, of shape (sequences, LENGTH, SYMBOLS + 2), and the symbols; the last 200 are for validation.

    Arjovsky et al. 2016, short: symbols, blanks, a sign after which they are to be repeated. No sequence comes twice.
    """
    generator = torch.Generator().manual_seed(33)
    every = torch.cartesian_prod(*[torch.arange(SYMBOLS)] * COPIED)
    symbols = every[torch.randperm(len(every), generator=generator)[: SAMPLES + 200]]
    inputs = torch.full((len(symbols), LENGTH), SYMBOLS)
    inputs[:, :COPIED], inputs[:, -COPIED] = symbols, SYMBOLS + 1
    return one_hot(inputs, SYMBOLS + 2).float(), symbols


class Copier(nn.Module):
    """rnn: starts orthogonal, times the gain. gru, lstm: the bias of the gate that keeps (Jozefowicz et al. 2015)."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        kind, width = params["cell"], params["width"]
        self.cell, self.head = CELLS[kind](SYMBOLS + 2, width, batch_first=True), nn.Linear(width, SYMBOLS)
        with torch.no_grad():
            if kind == "rnn":
                nn.init.orthogonal_(self.cell.weight_hh_l0, params["gain"])
            else:
                # Of both kinds the second gate.
                self.cell.bias_ih_l0[width : 2 * width] = params["keep_bias"]

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.cell(x)[0][:, -COPIED:])
        return found


def run(params: Params, seed: int) -> Curve:
    """The metric is the cross-entropy of a repeated symbol."""
    torch.manual_seed(seed)
    x, y = data()
    model = Copier(params)
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            loss = cross_entropy(model(x[batch]).flatten(0, 1), y[batch].flatten())
            step(optimizer, loss, params.get("max_norm"))
        with torch.no_grad():
            yield (float(cross_entropy(model(x[SAMPLES:]).flatten(0, 1), y[SAMPLES:].flatten())),)


def work(params: Params) -> Work:
    operations = LENGTH * GATES[params["cell"]] * params["width"] * (params["width"] + SYMBOLS + 2)
    return training_work(SAMPLES, params["batch_size"], operations)


KEEP_BIAS = {"keep_bias": {"low": -2.0, "high": 6.0}}
TRAINING = Training(
    data="generated: 4 of 5 symbols, to be repeated after 8 steps; 240 for training, 200 for validation",
    model="recurrent network, one of three",
    space={
        "cell": {
            "choices": {"rnn": {"gain": {"low": 0.3, "high": 2.0}}, "gru": KEEP_BIAS, "lstm": KEEP_BIAS},
            "structural": True,
        },
        "width": {"low": 8, "high": 48, "log": True},
        "learning_rate": {"low": 3e-4, "high": 1.0, "log": True},
        "weight_decay": {"low": 1e-6, "high": 0.1, "log": True},
        "optimizer": OPTIMIZERS,
        "clip": {"choices": {"none": {}, "norm": {"max_norm": {"low": 0.03, "high": 10.0, "log": True}}}},
        "batch_size": {"choices": [16, 32, 64]},
    },
    epochs=EPOCHS,
    metric="val_cross_entropy",
    direction="minimize",
    configurations=320,
    run=run,
    work=work,
)
