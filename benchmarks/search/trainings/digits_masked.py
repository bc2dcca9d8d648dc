"""Digits without labels: what was hidden of an image is told from the rest, and the code is judged by a probe."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import one_hot

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, mlp, optimizer_of, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, LABELLED, PENALTY = 25, 600, 100, 10.0


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return images under noise, of shape (images, 64) from about -1 to 1, and digits; the last 700 are validation.

    The network learns from the first 600 images, without digits; the probe from the first 100, with them.
    """
    rng = np.random.default_rng(62)
    inputs, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(inputs))[: SAMPLES + 700]
    x = inputs[order] / 8 - 1 + rng.normal(scale=0.4, size=(len(order), 64))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(labels[order])


def hidden(params: Params, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the corrupted images, and 1 where a pixel was corrupted.

    pixels and patches: set to the mean (Pathak et al. 2016, He et al. 2022). swap: the pixel of another image.
    noise: Vincent et al. 2010.
    """
    side = params.get("patch", 1)
    places = (torch.rand(len(x), 8 // side, 8 // side) < params["share"]).float()
    where = places.repeat_interleave(side, 1).repeat_interleave(side, 2).flatten(1)
    match params["corruption"]:
        case "swap":
            put = x[torch.randperm(len(x))]
        case "noise":
            put = x + params["noise"] * torch.randn_like(x)
        case _:
            put = x.mean(0).expand_as(x)
    return torch.where(where > 0, put, x), where


def probe_accuracy(codes: Tensor, y: Tensor) -> float:
    """Return the accuracy on the validation images of a ridge regression on the codes of the labelled ones."""
    known, scored = codes[:LABELLED], codes[SAMPLES:]
    mean, deviation = known.mean(0), known.std(0) + 1e-4
    known, scored = (known - mean) / deviation, (scored - mean) / deviation
    targets = one_hot(y[:LABELLED], 10).float()
    offset = targets.mean(0)
    # As many equations as labelled images, however wide the code is.
    weights = torch.linalg.solve(known @ known.T + PENALTY * torch.eye(LABELLED), targets - offset)
    return float((((scored @ known.T) @ weights + offset).argmax(1) == y[SAMPLES:]).float().mean())


def run(params: Params, seed: int) -> Curve:
    """kept_weight: in the loss, of the pixels that were not corrupted; others have the weight 1."""
    torch.manual_seed(seed)
    x, y = data()
    encoder = nn.Sequential(mlp([64, params["width"], params["code"]]), nn.Tanh())
    model = nn.Sequential(encoder, mlp([params["code"], params["width"], 64]))
    optimizer = optimizer_of(model, params)
    for _ in range(EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            corrupted, where = hidden(params, x[batch])
            weights = where + params["kept_weight"] * (1 - where)
            step(optimizer, (weights * (model(corrupted) - x[batch]) ** 2).sum() / (weights.sum() + 1e-6))
        with torch.no_grad():
            codes = encoder(x)
        if not codes.isfinite().all():
            return
        yield (probe_accuracy(codes, y),)


TRAINING = Training(
    data="scikit-learn's digits with noise: 600 images for training, 100 of them labelled for the probe, 700 to judge",
    model="masked autoencoder of three hidden layers, and a linear probe of its code",
    space={
        "corruption": {
            "choices": {
                "pixels": {},
                "patches": {"patch": {"choices": [2, 4]}},
                "swap": {},
                "noise": {"noise": {"low": 0.1, "high": 5.0, "log": True}},
            }
        },
        "share": {"low": 0.02, "high": 0.98},
        "kept_weight": {"low": 0.01, "high": 1.0, "log": True},
        "width": {"low": 16, "high": 128, "log": True},
        "code": {"low": 4, "high": 64, "log": True},
        "learning_rate": {"low": 3e-4, "high": 1.0, "log": True},
        "weight_decay": {"low": 1e-5, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [20, 50, 100]},
    },
    epochs=EPOCHS,
    metric="val_probe_accuracy",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: training_work(SAMPLES, p["batch_size"], 2 * p["width"] * (64 + p["code"])),
)
