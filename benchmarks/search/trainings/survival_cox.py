"""Survival with much censoring, by a network that gives the logarithm of the hazard."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, mlp, mlp_operations, optimizer_of, step
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES, VALIDATION, COLUMNS = 30, 500, 400, 12
ACTIVATIONS = {"relu": nn.ReLU, "selu": nn.SELU, "tanh": nn.Tanh}


@cache
def data() -> tuple[Tensor, Tensor, Tensor, NDArray[np.bool_]]:
    """Return inputs and whether the death was seen, for training and for validation, both in the order of time.

    The hazard has a hill (as in Katzman et al. 2018), a product and a line; five columns are noise.
    """
    rng = np.random.default_rng(31)
    x = rng.normal(size=(SAMPLES + VALIDATION, COLUMNS))
    hill = 2.5 * np.exp(-(x[:, 0] ** 2 + x[:, 1] ** 2) / 2)
    hazard = np.exp(hill + 0.8 * x[:, 2] * x[:, 3] + x[:, 4:7] @ [0.5, -0.4, 0.3])
    death, censored = rng.exponential(1 / hazard), rng.exponential(0.2, len(x))
    order = np.minimum(death, censored).argsort()
    train, rows = order[order < SAMPLES], order[order >= SAMPLES]
    inputs, seen = torch.tensor(x, dtype=torch.float32), death <= censored
    return inputs[train], torch.tensor(seen[train]), inputs[rows], seen[rows]


def concordance(scores: NDArray[np.float32], seen: NDArray[np.bool_]) -> float:
    """Return the share of pairs in the right order, the earlier death first (Harrell et al. 1982); ties are halves."""
    pairs = np.triu(seen[:, None] & np.ones_like(seen), 1)
    above = scores[:, None] - scores
    return float(((above > 0) + 0.5 * (above == 0))[pairs].mean())


def loss_of(params: Params, model: nn.Sequential, batch: Tensor) -> Tensor:
    """Return minus the logarithm of the partial likelihood, for a death.

    batch: the risk set is who of the batch is left (Katzman et al. 2018). sampled: some of all who are left (Kvamme et
    al. 2019).
    """
    x, seen, _, _ = data()
    if params["risk_set"] == "batch":
        # In the order of time, so that who is left comes after.
        batch = batch.sort().values
        scores: Tensor = model(x[batch])[:, 0]
        left = scores.flip(0).logcumsumexp(0).flip(0)
        return (seen[batch] * (left - scores)).sum() / seen[batch].sum().clamp(min=1)
    cases = batch[seen[batch], None]
    controls = cases + (torch.rand(len(cases), params["controls"]) * (SAMPLES - cases)).long()
    rows: Tensor = model(x[torch.cat([cases, controls], 1)])[..., 0]
    return (rows.logsumexp(1) - rows[:, 0]).sum() / max(len(cases), 1)


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    _, _, val_x, val_seen = data()
    model = mlp(widths(params), ACTIVATIONS[params["activation"]], params["dropout"])
    optimizer = optimizer_of(model, params)
    for _ in range(EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, loss_of(params, model, batch))
        model.eval()
        with torch.no_grad():
            scores = model(val_x)[:, 0].numpy()
        if not np.isfinite(scores).all():
            return
        yield (concordance(scores, val_seen),)


def widths(params: Params) -> tuple[int, ...]:
    return COLUMNS, *[params["width"]] * params["layers"], 1


def work(params: Params) -> Work:
    """Four of ten samples are deaths, each with its controls."""
    rows = 0.4 * (1 + params["controls"]) if params["risk_set"] == "sampled" else 1
    return Work(SAMPLES / params["batch_size"], 3 * SAMPLES * rows * mlp_operations(widths(params)))


TRAINING = Training(
    data="generated: 12 columns, six of ten censored; 500 for training, 400 for validation",
    model="network of 1 to 3 hidden layers, with Cox's partial likelihood",
    space={
        "risk_set": {"choices": {"batch": {}, "sampled": {"controls": {"low": 1, "high": 20, "log": True}}}},
        "layers": {"low": 1, "high": 3},
        "width": {"low": 4, "high": 64, "log": True},
        "activation": {"choices": list(ACTIVATIONS)},
        "dropout": {"low": 0.0, "high": 0.6},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "weight_decay": {"low": 1e-5, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [25, 50, 125]},
    },
    epochs=EPOCHS,
    metric="val_concordance",
    direction="maximize",
    configurations=320,
    run=run,
    work=work,
)
