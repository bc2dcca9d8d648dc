"""Nodes of a graph of five blocks, few of them labelled, by a graph convolutional network."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, relu

from benchmarks.search.trainings.networks import OPTIMIZERS, mlp_operations, optimizer_of, schedule_epochs, step
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, UPDATES, NODES, LABELLED, CLASSES, COLUMNS = 30, 6, 360, 60, 5, 12


@cache
def data() -> tuple[Tensor, Tensor, Tensor]:
    """Return edges of shape (NODES, NODES), features and classes; the first nodes are labelled, the others validate.

    A stochastic block model (Holland et al. 1983): a node has some 7 neighbours of its block, and 7 of all others.
    """
    rng = np.random.default_rng(41)
    classes = rng.integers(CLASSES, size=NODES)
    chance = np.where(classes[:, None] == classes, 0.1, 0.025)
    upper = np.triu(rng.random(chance.shape) < chance, 1)
    features = rng.normal(size=(CLASSES, COLUMNS))[classes] * 0.4 + rng.normal(size=(NODES, COLUMNS))
    edges = torch.tensor(upper | upper.T, dtype=torch.float32)
    return edges, torch.tensor(features, dtype=torch.float32), torch.tensor(classes)


def propagation(params: Params, edges: Tensor, training: bool) -> Tensor:
    """Return what a layer multiplies the nodes with. dropped: fewer edges in each update (Rong et al. 2020)."""
    if training and "edge_dropout" in params:
        upper = torch.triu(torch.rand_like(edges) >= params["edge_dropout"], 1)
        edges = edges * (upper | upper.T)
    weights = edges + params["self_weight"] * torch.eye(NODES)
    degrees, rows = weights.sum(1), params["normalisation"] == "rows"
    spread: Tensor = weights / (degrees[:, None] if rows else (degrees[:, None] * degrees).sqrt())
    return spread


class Network(nn.Module):
    """Graph convolutions (Kipf and Welling 2017). residual: a hidden layer is added to what goes into it."""

    def __init__(self, sizes: tuple[int, ...], rate: float, residual: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.rate, self.residual = rate, residual

    def forward(self, x: Tensor, spread: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            found = relu(spread @ layer(dropout(x, self.rate, self.training)))
            x = x + found if self.residual and x.shape == found.shape else found
        logits: Tensor = spread @ self.layers[-1](dropout(x, self.rate, self.training))
        return logits


def widths(params: Params) -> tuple[int, ...]:
    return COLUMNS, *[params["width"]] * (params["layers"] - 1), CLASSES


def run(params: Params, seed: int) -> Curve:
    """An epoch is 6 updates, each with all nodes."""
    torch.manual_seed(seed)
    edges, x, y = data()
    model = Network(widths(params), params["dropout"], params["residual"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for _ in range(UPDATES):
            spread = propagation(params, edges, training=True)
            step(optimizer, cross_entropy(model(x, spread)[:LABELLED], y[:LABELLED]))
        model.eval()
        with torch.no_grad():
            logits = model(x, propagation(params, edges, training=False))[LABELLED:]
        if not logits.isfinite().all():
            return
        yield (float((logits.argmax(1) == y[LABELLED:]).float().mean()),)


def work(params: Params) -> Work:
    operations = NODES * mlp_operations(widths(params)) + NODES**2 * sum(widths(params)[1:])
    return Work(UPDATES, 3 * UPDATES * operations)


TRAINING = Training(
    data="generated: a graph of 360 nodes in five blocks, with 12 noisy columns; 60 for training, 300 for validation",
    model="graph convolutional network of 1 to 4 layers",
    space={
        "layers": {"low": 1, "high": 4},
        "width": {"low": 4, "high": 64, "log": True},
        "residual": {"choices": [True, False], "structural": True},
        "normalisation": {"choices": ["symmetric", "rows"]},
        "self_weight": {"low": 0.1, "high": 30.0, "log": True},
        "edges": {"choices": {"all": {}, "dropped": {"edge_dropout": {"low": 0.05, "high": 0.8}}}},
        "dropout": {"low": 0.0, "high": 0.8},
        "learning_rate": {"low": 3e-4, "high": 1.0, "log": True},
        "weight_decay": {"low": 1e-5, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
    },
    epochs=EPOCHS,
    metric="val_accuracy",
    direction="maximize",
    configurations=320,
    run=run,
    work=work,
)
