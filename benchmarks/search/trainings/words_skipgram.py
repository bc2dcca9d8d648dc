"""Embeddings of generated words by skip-gram with negative sampling, judged by the classes of near words."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, optimizer_of, schedule_epochs, step
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, LENGTH, WORDS, CLASSES, PAIRS = 30, 12000, 140, 6, 3000


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return the words of the text, shape (LENGTH,), and the class of each word but the last 20.

    Half of the words are of the class of the word before, the others of one that often follows it; the frequency of
    a class's words falls by their rank to the power -0.7. 15 % of the text are the last 20 words, of no class.
    """
    rng = np.random.default_rng(53)
    classes = rng.integers(CLASSES, size=WORDS - 20)
    follows = 0.5 * np.eye(CLASSES) + 0.5 * rng.dirichlet(np.full(CLASSES, 0.2), CLASSES)
    text, state = np.empty(LENGTH, np.int64), 0
    for place in range(LENGTH):
        if rng.random() < 0.15:
            text[place] = rng.integers(WORDS - 20, WORDS)
            continue
        state = rng.choice(CLASSES, p=follows[state])
        members = np.flatnonzero(classes == state)
        frequencies = np.arange(1, len(members) + 1) ** -0.7
        text[place] = rng.choice(members, p=frequencies / frequencies.sum())
    return torch.tensor(text), torch.tensor(classes)


def pairs_of(params: Params, text: Tensor, shares: Tensor) -> Tensor:
    """Return PAIRS words and words near them, shape (PAIRS, 2), of a text without some of its frequent words.

    All distances up to the window are as likely.
    """
    kept = text[torch.rand(len(text)) < (params["threshold"] / shares[text]).sqrt()]
    distance = torch.randint(1, params["window"] + 1, (PAIRS,))
    place = torch.randint(len(kept), (PAIRS,))
    near = (place + distance * (2 * torch.randint(2, (PAIRS,)) - 1)) % len(kept)
    return torch.stack([kept[place], kept[near]], 1)


def accuracy(vectors: Tensor, classes: Tensor) -> float:
    """Return the share of words whose class is that of most of the five words of highest cosine."""
    unit = normalize(vectors[: len(classes)])
    likeness = (unit @ unit.T).fill_diagonal_(-2)
    votes = nn.functional.one_hot(classes[likeness.topk(5, 1).indices], CLASSES).sum(1)
    return float((votes.argmax(1) == classes).float().mean())


def run(params: Params, seed: int) -> Curve:
    """Mikolov et al. 2013; negatives are drawn by a power of the words' frequencies."""
    torch.manual_seed(seed)
    text, classes = data()
    counts = torch.bincount(text, minlength=WORDS).float()
    shares, noise = counts / LENGTH, counts ** params["noise_power"]
    inner, outer = (nn.Embedding(WORDS, params["dimension"]) for _ in range(2))
    for embedding in (inner, outer):
        nn.init.normal_(embedding.weight, std=params["first_scale"])
    optimizer = optimizer_of(nn.ModuleList([inner, outer]), params)
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        drawn = torch.multinomial(noise, PAIRS * params["negatives"], replacement=True).view(PAIRS, -1)
        pairs = torch.cat([pairs_of(params, text, shares), drawn], 1)
        for batch in batches(PAIRS, params["batch_size"]):
            centre, others = inner(pairs[batch, 0]), outer(pairs[batch, 1:])
            scores = (others @ centre[:, :, None])[:, :, 0]
            step(optimizer, -(logsigmoid(scores[:, 0]) + logsigmoid(-scores[:, 1:]).sum(1)).sum())
        vectors = inner.weight.detach()
        if not vectors.isfinite().all():
            return
        yield (accuracy(vectors, classes),)


TRAINING = Training(
    data="generated: a text of 12000 words, 140 different ones, most of them in 6 hidden classes",
    model="skip-gram embeddings with negative sampling",
    space={
        "dimension": {"low": 2, "high": 64, "log": True},
        "window": {"low": 1, "high": 10},
        "negatives": {"low": 1, "high": 15, "log": True},
        "noise_power": {"low": 0.0, "high": 1.0},
        "threshold": {"low": 1e-4, "high": 1.0, "log": True},
        "first_scale": {"low": 0.001, "high": 1.0, "log": True},
        "learning_rate": {"low": 1e-4, "high": 0.5, "log": True},
        "optimizer": OPTIMIZERS,
        "schedule": {"choices": ["constant", "cosine"]},
        "batch_size": {"choices": [100, 250, 1000]},
    },
    epochs=EPOCHS,
    metric="val_class_accuracy",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: Work(PAIRS / p["batch_size"], 3 * PAIRS * (1 + p["negatives"]) * p["dimension"]),
)
