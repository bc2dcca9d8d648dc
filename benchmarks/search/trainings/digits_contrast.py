"""Digits embedded without labels, so that two views of one image lie together; judged with few labels."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, one_hot, pad

from benchmarks.search.trainings.networks import (
    SCHEDULES,
    batches,
    mlp,
    mlp_operations,
    optimizer_of,
    schedule_epochs,
    standardise,
    step,
    training_work,
)
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, LABELLED, SIDE = 30, 600, 60, 8


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return images and digits; the first LABELLED are what the embedding is judged with, the last 800 on."""
    rng = np.random.default_rng(32)
    inputs, labels = load_digits(return_X_y=True)
    kept = rng.permutation(len(inputs))[: SAMPLES + 800]
    return torch.tensor(inputs[kept] / 8, dtype=torch.float32), torch.tensor(labels[kept])


def view(params: Params, x: Tensor) -> Tensor:
    """Return the images, each shifted by some pixels, with pixels masked, and under noise."""
    count, most = len(x), params["shift"]
    padded = pad(x.view(count, SIDE, SIDE), [most] * 4)
    rows, columns = (torch.randint(2 * most + 1, (count, 1)) + torch.arange(SIDE) for _ in range(2))
    shifted = padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None]].view(count, -1)
    return shifted * (torch.rand_like(x) >= params["mask"]) + torch.randn_like(x) * params["noise"]


def pair_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return how hard each view's other one is to tell from all the others of the batch."""
    found, count = normalize(torch.cat([first, second])), len(first)
    likeness = (found @ found.T / temperature).fill_diagonal_(-torch.inf)
    return cross_entropy(likeness, torch.arange(2 * count).roll(count))


def accuracy(embedding: Tensor, labels: Tensor) -> float:
    """Return that of ridge regression on the labels of few samples."""
    _, known, others = standardise(embedding[:SAMPLES], embedding[:LABELLED], embedding[SAMPLES:])
    targets = one_hot(labels[:LABELLED], 10) - 0.1
    weights = torch.linalg.solve(known.T @ known + torch.eye(known.shape[1]), known.T @ targets)
    return float(((others @ weights).argmax(1) == labels[SAMPLES:]).float().mean())


def widths(params: Params) -> tuple[list[int], list[int]]:
    """Return those of the embedding, and of the head that only the loss sees."""
    size = params["dimensions"]
    behind = {"none": [], "linear": [size], "deep": [params.get("head_width")] * 2}[params["head"]]
    return [SIDE**2, params["width"], size], [size, *behind]


def run(params: Params, seed: int) -> Curve:
    """SimCLR (Chen et al. 2020). The metric is the accuracy of a linear classifier on the embedding."""
    torch.manual_seed(seed)
    x, y = data()
    embed, head = widths(params)
    model = nn.Sequential(mlp(embed), nn.Sequential(nn.ReLU(), mlp(head)) if len(head) > 1 else nn.Identity())
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            first, second = model(torch.cat([view(params, x[batch]), view(params, x[batch])])).chunk(2)
            step(optimizer, pair_loss(first, second, params["temperature"]))
        with torch.no_grad():
            embedding = model[0](x)
        if not embedding.isfinite().all():
            return
        yield (accuracy(embedding, y),)


TRAINING = Training(
    data="scikit-learn's digits, 600 for training without labels; 60 labels, 800 for validation",
    model="embedding by a network of one hidden layer, trained by contrast",
    space={
        "shift": {"low": 0, "high": 3},
        "mask": {"low": 0.0, "high": 0.8},
        "noise": {"low": 0.0, "high": 2.0},
        "temperature": {"low": 0.01, "high": 10.0, "log": True},
        "head": {"choices": {"none": {}, "linear": {}, "deep": {"head_width": {"low": 4, "high": 64, "log": True}}}},
        "width": {"low": 16, "high": 128, "log": True},
        "dimensions": {"low": 4, "high": 64, "log": True},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "schedule": SCHEDULES,
        "batch_size": {"choices": [20, 60, 200]},
    },
    epochs=EPOCHS,
    metric="val_accuracy",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: training_work(
        SAMPLES, p["batch_size"], 2 * sum(map(mlp_operations, widths(p))) + 4 * p["batch_size"] * widths(p)[1][-1]
    ),
)
