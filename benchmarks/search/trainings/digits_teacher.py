"""Digits of which a tenth have labels: the others are taught by the network's own guesses, or by its average."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.search.trainings.networks import (
    OPTIMIZERS,
    batches,
    mlp,
    optimizer_of,
    schedule_epochs,
    step,
    training_work,
)
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, LABELLED, SAMPLES = 30, 40, 400


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return images under noise and digits: four of each with a label first, and at the end 800 for validation."""
    rng = np.random.default_rng(33)
    inputs, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(inputs))
    known = np.concatenate([order[labels[order] == digit][: LABELLED // 10] for digit in range(10)])
    kept = np.concatenate([known, order[~np.isin(order, known)][: SAMPLES - LABELLED + 800]])
    x = inputs[kept] / 8 - 1 + rng.normal(scale=0.5, size=(len(kept), 64))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(labels[kept])


def unlabelled_loss(params: Params, student: nn.Module, teacher: nn.Module, x: Tensor) -> Tensor:
    """pseudo: Lee 2013, for confident guesses alone. teacher: Tarvainen and Valpola 2017."""
    scores = student(blurred(params, x))
    with torch.no_grad():
        taught = (student(x) if params["method"] == "pseudo" else teacher(blurred(params, x))).softmax(1)
    if params["method"] == "teacher":
        return ((scores.softmax(1) - taught) ** 2).sum(1).mean() * params["consistency"]
    confidence, guesses = taught.max(1)
    losses = cross_entropy(scores, guesses, reduction="none")
    return torch.where(confidence >= params["threshold"], losses, 0.0).mean() * params["pseudo_weight"]


def blurred(params: Params, x: Tensor) -> Tensor:
    return x + torch.randn_like(x) * params["noise"]


def run(params: Params, seed: int) -> Curve:
    """The metric is the accuracy of the average, if there is one."""
    torch.manual_seed(seed)
    x, y = data()
    student = mlp([64, params["width"], 10])
    teacher = deepcopy(student)
    optimizer = optimizer_of(student, params)
    for epoch in schedule_epochs(optimizer, params, EPOCHS):
        weight = min(1.0, (epoch + 1) / (params["rise"] * EPOCHS + 1))
        for batch in batches(SAMPLES, params["batch_size"]):
            known = torch.randperm(LABELLED)[: params["batch_size"]]
            told = cross_entropy(student(blurred(params, x[known])), y[known])
            step(optimizer, told + weight * unlabelled_loss(params, student, teacher, x[batch]))
            if params["method"] == "teacher":
                with torch.no_grad():
                    for mean, each in zip(teacher.parameters(), student.parameters(), strict=True):
                        mean.lerp_(each, params["teacher_rate"])
        with torch.no_grad():
            scores = (teacher if params["method"] == "teacher" else student)(x[SAMPLES:])
        if not scores.isfinite().all():
            return
        yield (float((scores.argmax(1) == y[SAMPLES:]).float().mean()),)


TRAINING = Training(
    data="scikit-learn's digits with noise, 400 for training of which 40 have labels, 800 for validation",
    model="network of one hidden layer, learning from pseudo-labels or from a mean teacher",
    space={
        "method": {
            "choices": {
                "pseudo": {
                    "pseudo_weight": {"low": 0.01, "high": 10.0, "log": True},
                    "threshold": {"low": 0.1, "high": 0.99},
                },
                "teacher": {
                    "consistency": {"low": 0.01, "high": 100.0, "log": True},
                    "teacher_rate": {"low": 0.003, "high": 0.5, "log": True},
                },
            }
        },
        "rise": {"low": 0.0, "high": 1.0},
        "noise": {"low": 0.0, "high": 2.0},
        "width": {"low": 8, "high": 128, "log": True},
        "learning_rate": {"low": 3e-4, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [20, 40, 100]},
    },
    epochs=EPOCHS,
    metric="val_accuracy",
    direction="maximize",
    configurations=320,
    run=run,
    # Labelled and unlabelled samples forward and backward, and what the unlabelled ones are taught forward.
    work=lambda p: training_work(SAMPLES, p["batch_size"], 7 / 3 * 74 * p["width"]),
)
