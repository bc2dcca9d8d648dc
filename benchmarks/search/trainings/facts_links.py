"""Missing facts of a generated knowledge graph, found by embeddings of its entities and relations."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, optimizer_of, schedule_epochs, step
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES, ENTITIES, RELATIONS = 30, 1200, 80, 6


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return facts (head, relation, tail), shape (facts, 3), the last 300 for validation, and which hold at all.

    An entity has a hidden place in three dimensions. A relation moves the head's place, every second one turns it too,
    and the relation holds for the four nearest entities.
    """
    rng = np.random.default_rng(54)
    places = rng.normal(size=(ENTITIES, 3))
    holds = np.zeros((ENTITIES, RELATIONS, ENTITIES), bool)
    for relation in range(RELATIONS):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] if relation % 2 else np.eye(3)
        wanted = places @ turn + rng.normal(scale=0.7, size=3)
        near = np.linalg.norm(wanted[:, None] - places, axis=2).argsort(1, kind="stable")[:, :4]
        holds[np.arange(ENTITIES)[:, None], relation, near] = True
    facts = rng.permutation(np.argwhere(holds))[: SAMPLES + 300]
    return torch.tensor(facts), torch.tensor(holds)


class Embeddings(nn.Module):
    """Score facts by TransE (Bordes et al. 2013), DistMult (Yang et al. 2015) or ComplEx (Trouillon et al. 2016)."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.model, width = params["model"], 2 * params["half_width"]
        self.entities, self.relations = nn.Embedding(ENTITIES, width), nn.Embedding(RELATIONS, width)
        for each in (self.entities, self.relations):
            nn.init.normal_(each.weight, std=params["first_scale"])

    def forward(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Return the score of each entity as the tail, shape (facts, ENTITIES)."""
        head, relation, tails = self.entities(heads), self.relations(relations), self.entities.weight
        if self.model == "transe":
            return -torch.cdist(head + relation, tails)
        mixed: Tensor = head * relation
        if self.model == "complex":
            (a, b), (c, d) = head.chunk(2, 1), relation.chunk(2, 1)
            mixed = torch.cat([a * c - b * d, a * d + b * c], 1)
        return mixed @ tails.T


def loss_of(params: Params, scores: Tensor, tails: Tensor) -> Tensor:
    """Return the mean over facts, against random tails, of the hinge loss of TransE or the logistic one of ComplEx."""
    drawn = scores.gather(1, torch.randint(ENTITIES, (len(scores), params["negatives"])))
    true = scores.gather(1, tails[:, None])
    if params["loss"] == "margin":
        return torch.relu(params["margin"] + drawn - true).mean()
    return softplus(drawn + params["shift"]).mean() + softplus(-true - params["shift"]).mean()


def run(params: Params, seed: int) -> Curve:
    """The metric is of a tail's rank among itself and false tails. penalty: of cubes (Lacroix et al. 2018)."""
    torch.manual_seed(seed)
    facts, holds = data()
    model = Embeddings(params)
    optimizer = optimizer_of(model, params)
    heads, relations, tails = facts[SAMPLES:].T
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        for batch in batches(SAMPLES, params["batch_size"]):
            head, relation, tail = facts[batch].T
            used = torch.cat([model.entities(head), model.relations(relation), model.entities(tail)])
            penalty = params["penalty"] * used.abs().pow(3).sum() / len(batch)
            step(optimizer, loss_of(params, model(head, relation), tail) + penalty)
        with torch.no_grad():
            scores = model(heads, relations)
        if not scores.isfinite().all():
            return
        ahead = ((scores >= scores.gather(1, tails[:, None])) & ~holds[heads, relations]).sum(1)
        yield (float((1 / (1 + ahead)).mean()),)


MARGIN, SHIFT = {"low": 0.1, "high": 10.0, "log": True}, {"low": -5.0, "high": 5.0}
TRAINING = Training(
    data="generated: a graph of 80 entities and 6 relations; 1200 facts for training, 300 for validation",
    model="TransE, DistMult or ComplEx",
    space={
        "model": {"choices": ["transe", "distmult", "complex"], "structural": True},
        "half_width": {"low": 2, "high": 32, "log": True},
        "loss": {"choices": {"margin": {"margin": MARGIN}, "logistic": {"shift": SHIFT}}},
        "negatives": {"low": 1, "high": 64, "log": True},
        "penalty": {"low": 1e-6, "high": 1.0, "log": True},
        "first_scale": {"low": 0.01, "high": 1.0, "log": True},
        "learning_rate": {"low": 1e-3, "high": 3.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [40, 100, 300]},
    },
    epochs=EPOCHS,
    metric="val_reciprocal_rank",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: Work(SAMPLES / p["batch_size"], 6 * SAMPLES * ENTITIES * p["half_width"]),
)
