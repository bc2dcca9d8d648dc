"""The next symbol of texts with nested brackets, by a window of symbols or a recurrent network: who closes what?"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from benchmarks.search.trainings.networks import OPTIMIZERS, batches, optimizer_of, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES, ALL, LENGTH, WORDS, KINDS, DEPTH = 25, 200, 300, 24, 8, 3, 4
START = WORDS + 2 * KINDS


@cache
def data() -> Tensor:
    """Return texts of a grammar with a stack, each behind the symbol START; the last 100 are for validation.

    After the words come the brackets that open and those that close. Each kind of bracket has its own chances of the
    next word after the last one, so that what was opened long ago counts.
    """
    rng = np.random.default_rng(33)
    chances = rng.dirichlet(np.full(WORDS, 0.1), (KINDS + 1, WORDS))
    texts = np.full((ALL, 1 + LENGTH), START)
    for text in texts:
        stack, word = [KINDS], 0
        for place in range(1, 1 + LENGTH):
            drawn = rng.random()
            if drawn < 0.12 and len(stack) <= DEPTH:
                stack.append(int(rng.integers(KINDS)))
                text[place] = WORDS + stack[-1]
            elif drawn > 0.88 and len(stack) > 1:
                text[place] = WORDS + KINDS + stack.pop()
            else:
                text[place] = word = int(rng.choice(WORDS, p=chances[stack[-1], word]))
    return torch.tensor(texts)


class Language(nn.Module):
    """window: Bengio et al. 2003, without direct connections. recurrent: Cho et al. 2014."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.embedding, self.dropout = nn.Embedding(START + 1, params["embedding"]), nn.Dropout(params["dropout"])
        self.context, width = params.get("context", 1), params["width"]
        inputs = params["embedding"] * self.context
        recurrent = params["network"] == "recurrent"
        self.body = nn.GRU(inputs, width, batch_first=True) if recurrent else nn.Linear(inputs, width)
        self.head = nn.Linear(width, START)

    def forward(self, texts: Tensor) -> Tensor:
        """Return the cross-entropy of what follows each symbol."""
        windows = pad(texts[:, :-1], (self.context - 1, 0), value=START).unfold(1, self.context, 1)
        found = self.dropout(self.embedding(windows).flatten(-2))
        found = self.body(found)[0] if isinstance(self.body, nn.GRU) else self.body(found).tanh()
        return cross_entropy(self.head(self.dropout(found)).flatten(0, 1), texts[:, 1:].flatten())


def run(params: Params, seed: int) -> Curve:
    """The metric is in bits a symbol."""
    torch.manual_seed(seed)
    texts, model = data(), Language(params)
    optimizer = optimizer_of(model, params)
    for _ in range(EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, model(texts[batch]), params.get("max_norm"))
        model.eval()
        with torch.no_grad():
            loss = float(model(texts[SAMPLES:]))
        if not math.isfinite(loss):
            return
        yield (loss / math.log(2),)


def work(params: Params) -> Work:
    width, inputs = params["width"], params["embedding"] * params.get("context", 1)
    hidden = 3 * (inputs + width) if params["network"] == "recurrent" else inputs
    return training_work(SAMPLES, params["batch_size"], LENGTH * width * (hidden + START))


WINDOW, RECURRENT = {"context": {"low": 1, "high": 12}}, {"max_norm": {"low": 0.05, "high": 10.0, "log": True}}
TRAINING = Training(
    data="generated: texts of 24 symbols with brackets that nest; 200 for training, 100 for validation",
    model="language model: network of a window, or recurrent network",
    space={
        "network": {"choices": {"window": WINDOW, "recurrent": RECURRENT}, "structural": True},
        "embedding": {"low": 2, "high": 24, "log": True},
        "width": {"low": 4, "high": 64, "log": True},
        "dropout": {"low": 0.0, "high": 0.6},
        "learning_rate": {"low": 3e-4, "high": 3.0, "log": True},
        "weight_decay": {"low": 1e-6, "high": 1.0, "log": True},
        "optimizer": OPTIMIZERS,
        "batch_size": {"choices": [20, 30, 60]},
    },
    epochs=EPOCHS,
    metric="val_bits",
    direction="minimize",
    configurations=320,
    run=run,
    work=work,
)
