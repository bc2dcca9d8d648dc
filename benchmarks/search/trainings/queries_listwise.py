"""Ranking of a query's documents, with a listwise, a pairwise or a metric-weighted loss."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

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

EPOCHS, SAMPLES, DOCUMENTS, FEATURES, TOP = 30, 160, 20, 14, 10
DISCOUNTS = 1 / torch.arange(2, DOCUMENTS + 2).log2() * (torch.arange(DOCUMENTS) < TOP)


@cache
def data() -> tuple[Tensor, Tensor, Tensor]:
    """Return features (queries, DOCUMENTS, FEATURES), grades 0 to 4, -1 where one of 12 to 20 has no more, and gains.

    Five features are the query's own, five the document's, four tell nothing; one document in twenty is graded 4. A
    gain is 2^grade - 1 over the query's highest discounted sum of them. The last 150 queries are for validation.
    """
    rng = np.random.default_rng(52)
    queries, documents = SAMPLES + 150, DOCUMENTS
    asked = rng.normal(size=(queries, 1, 5)).repeat(documents, 1)
    given, other = (rng.normal(size=(queries, documents, size)) for size in (5, 4))
    utility = (asked * given).sum(2) + 0.7 * rng.normal(size=(queries, documents))
    grades = np.digitize(utility, np.quantile(utility, [0.5, 0.7, 0.85, 0.95]))
    grades[np.arange(documents) >= rng.integers(12, documents + 1, (queries, 1))] = -1
    features = torch.tensor(np.concatenate([asked, given, other], 2), dtype=torch.float32)
    gains = 2.0 ** torch.tensor(grades).clamp(min=0) - 1
    ideal = (gains.sort(1, descending=True).values * DISCOUNTS).sum(1, keepdim=True)
    return features, torch.tensor(grades), gains / ideal.clamp(min=1e-6)


def loss_of(params: Params, scores: Tensor, grades: Tensor, gains: Tensor) -> Tensor:
    """Return the mean over the queries; scores, grades and gains: (queries, DOCUMENTS).

    listwise: ListNet (Cao et al. 2007). pairwise: RankNet (Burges et al. 2005), pairs weighed by a power of how much
    their grades differ. metric: LambdaRank (Burges et al. 2006), pairs weighed by what a swap changes of the metric.
    """
    scores = scores.masked_fill(grades < 0, -1e4)
    if params["loss"] == "listwise":
        wanted: Tensor = (grades / params["temperature"]).masked_fill(grades < 0, -1e4).softmax(1)
        return -(wanted * scores.log_softmax(1)).sum(1).mean()
    better = (grades[:, :, None] > grades[:, None]) & (grades[:, None] >= 0)
    if params["loss"] == "pairwise":
        weights = (grades[:, :, None] - grades[:, None]).clamp(min=1).pow(params["gap_power"])
        weights = weights / (weights * better).sum((1, 2), keepdim=True).clamp(min=1)
    else:
        places = DISCOUNTS[scores.detach().argsort(1, descending=True).argsort(1)]
        weights = (gains[:, :, None] - gains[:, None]).abs() * (places[:, :, None] - places[:, None]).abs()
    differences = params.get("steepness", 1.0) * (scores[:, :, None] - scores[:, None])
    return (softplus(-differences) * weights * better).sum((1, 2)).mean()


def run(params: Params, seed: int) -> Curve:
    """The metric is the normalised discounted cumulative gain of the first ten (Jarvelin and Kekalainen 2002)."""
    torch.manual_seed(seed)
    x, grades, gains = data()
    model = mlp([FEATURES, params["width"], params["width"], 1], dropout=params["dropout"])
    optimizer = optimizer_of(model, params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, loss_of(params, model(x[batch])[:, :, 0], grades[batch], gains[batch]))
        with torch.no_grad():
            scores = model.eval()(x[SAMPLES:])[:, :, 0]
        if not scores.isfinite().all():
            return
        order = scores.masked_fill(grades[SAMPLES:] < 0, -torch.inf).argsort(1, descending=True)
        yield (float((gains[SAMPLES:].gather(1, order) * DISCOUNTS).sum(1).mean()),)


TRAINING = Training(
    data="generated: queries with 12 to 20 documents of grades 0 to 4; 160 for training, 150 for validation",
    model="network of two hidden layers that scores a document",
    space={
        "loss": {
            "choices": {
                "listwise": {"temperature": {"low": 0.1, "high": 10.0, "log": True}},
                "pairwise": {"gap_power": {"low": 0.0, "high": 4.0}},
                "metric": {"steepness": {"low": 0.1, "high": 10.0, "log": True}},
            }
        },
        "width": {"low": 4, "high": 64, "log": True},
        "dropout": {"low": 0.0, "high": 0.6},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "weight_decay": {"low": 1e-5, "high": 1.0, "log": True},
        "batch_size": {"choices": [4, 16, 40]},
    },
    epochs=EPOCHS,
    metric="val_ndcg",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: training_work(SAMPLES, p["batch_size"], DOCUMENTS * p["width"] * (FEATURES + p["width"] + 1)),
)
