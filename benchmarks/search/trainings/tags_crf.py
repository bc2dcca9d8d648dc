"""Rare tags of generated sentences, by a conditional random field or a structured perceptron on a small network."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS, SAMPLES, LENGTH, WORDS, TAGS, WINDOWS = 25, 200, 10, 120, 5, {"word": 1, "neighbours": 3}


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return words and tags, of shape (sentences, LENGTH); the last 200 are for validation.

    A name of two to four words has a first tag and another for the rest: 1 and 2, or 3 and 4 if it is of the second
    kind. Its last word tells the kind, with errors. All of these words are ones of tag 0 too.
    """
    rng = np.random.default_rng(32)
    words = rng.integers(WORDS, size=(SAMPLES + 200, LENGTH))
    tags = np.zeros_like(words)
    for sentence, tagged in zip(words, tags, strict=True):
        if rng.random() < 0.6:
            length, kind, wrong = rng.integers(2, 5), rng.integers(2), rng.random() < 0.25
            start = rng.integers(LENGTH - length + 1)
            last = 10 + 5 * (kind ^ wrong) + rng.integers(5)
            sentence[start : start + length] = [*rng.integers(10, size=length - 1), last]
            tagged[start : start + length] = [2 * kind + 1] + [2 * kind + 2] * (length - 1)
    return torch.tensor(words), torch.tensor(tags)


class Tagger(nn.Module):
    """Scores the tags of each word, shape (sentences, LENGTH, TAGS), and which tag comes after which."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        width, window = params["width"], WINDOWS[params["context"]]
        self.embed = nn.Sequential(nn.Embedding(WORDS, width), nn.Dropout(params["dropout"]))
        self.hidden, self.head = nn.Conv1d(width, width, window, padding=window // 2), nn.Linear(width, TAGS)
        self.transitions = nn.Parameter(torch.zeros(TAGS, TAGS))

    def forward(self, words: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.hidden(self.embed(words).transpose(1, 2)).relu().transpose(1, 2)), self.transitions


def total(scores: Tensor, transitions: Tensor, best: bool) -> Tensor:
    """Return the score of each sentence's best tagging, or the logarithm of the sum over all (Lafferty et al. 2001)."""
    ahead = scores[:, 0, :, None]
    for place in range(1, LENGTH):
        joined = ahead + transitions
        ahead = (joined.max(1).values if best else joined.logsumexp(1))[:, :, None] + scores[:, place, :, None]
    return ahead.max(1).values if best else ahead.logsumexp(1)


def loss_of(params: Params, tags: Tensor, scores: Tensor, transitions: Tensor) -> Tensor:
    """perceptron: Collins 2002. miss_cost: what tag 0 is given where another is right (Gimpel and Smith 2010)."""
    right = scores.gather(2, tags[:, :, None]).sum((1, 2)) + transitions[tags[:, :-1], tags[:, 1:]].sum(1)
    costs = params["miss_cost"] * (tags > 0)[:, :, None] * torch.eye(TAGS)[0]
    return (total(scores + costs, transitions, params["loss"] == "perceptron")[:, 0] - right).mean()


def run(params: Params, seed: int) -> Curve:
    """The metric is the F1 score of the tags other than 0. averaged: over all updates, as Collins has it."""
    torch.manual_seed(seed)
    words, tags = data()
    model, truth = Tagger(params), tags[SAMPLES:]
    optimizer, mean = optimizer_of(model, params), AveragedModel(model) if params.get("averaged") else None
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, loss_of(params, tags[batch], *model(words[batch])))
            if mean is not None:
                mean.update_parameters(model)
        scores, transitions = (mean or model).eval()(words[SAMPLES:])
        if not (scores.sum() + transitions.sum()).isfinite():
            return
        # The slope of the best score is one for each tag of the best tagging.
        found = torch.autograd.grad(total(scores, transitions, True).sum(), scores)[0].argmax(2)
        yield (float(2 * ((found == truth) & (truth > 0)).sum() / ((found > 0).sum() + (truth > 0).sum())),)


AVERAGED, DECAY = {"choices": [True, False]}, {"low": 1e-5, "high": 1.0, "log": True}
TRAINING = Training(
    data="generated: sentences of 10 words, 18 % of them in names of two kinds; 200 for training, 200 for validation",
    model="linear chain of tags on an embedding network, one of two",
    space={
        "loss": {"choices": {"crf": {"weight_decay": DECAY}, "perceptron": {"averaged": AVERAGED}}},
        "miss_cost": {"low": 0.0, "high": 5.0},
        "context": {"choices": list(WINDOWS), "structural": True},
        "width": {"low": 4, "high": 48, "log": True},
        "dropout": {"low": 0.0, "high": 0.6},
        "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [10, 20, 50]},
    },
    epochs=EPOCHS,
    metric="val_f1",
    direction="maximize",
    configurations=320,
    run=run,
    work=lambda p: training_work(
        SAMPLES, p["batch_size"], LENGTH * (WINDOWS[p["context"]] * p["width"] ** 2 + TAGS * (p["width"] + TAGS))
    ),
)
