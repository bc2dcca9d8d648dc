"""Topics of generated documents, by online latent Dirichlet allocation."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import psi

from benchmarks.search.trainings.training import Curve, Params, Training, Work

Array = NDArray[np.float64]
EPOCHS, SAMPLES, VALIDATION, WORDS, TOPICS, LENGTH, VALIDATION_STEPS = 25, 200, 100, 200, 25, 50, 15
STREAM = EPOCHS * SAMPLES


@cache
def data() -> tuple[Array, Array, Array]:
    """Return counts of words: 5000 documents for training, and each half of 100 documents for validation.

    Topics and words have frequencies that fall by their rank; a document has few topics.
    """
    rng = np.random.default_rng(62)
    frequencies = 1 / (3 + np.arange(WORDS))
    topics = rng.dirichlet(12 * frequencies / frequencies.sum(), TOPICS)
    shares = 1 / (2 + np.arange(TOPICS))
    mixtures = rng.dirichlet(1.5 * shares / shares.sum(), STREAM + 2 * VALIDATION)
    mixtures[-VALIDATION:] = mixtures[-2 * VALIDATION : -VALIDATION]
    counts = rng.multinomial(LENGTH, mixtures @ topics).astype(float)
    return counts[:STREAM], counts[STREAM:-VALIDATION], counts[-VALIDATION:]


def geometric_mean(weights: Array) -> Array:
    """Return the exponential of the expected logarithm under a Dirichlet distribution of each row."""
    means: Array = np.exp(psi(weights) - psi(weights.sum(1, keepdims=True)))
    return means


def document_weights(counts: Array, words: Array, prior: Array, steps: int) -> Array:
    """Return the variational weights of each document's topics, shape (documents, topics); words: (topics, WORDS)."""
    weights: Array = prior + np.full((len(counts), len(prior)), counts.sum(1, keepdims=True) / len(prior))
    for _ in range(steps):
        means = geometric_mean(weights)
        weights = prior + means * (counts / (means @ words + 1e-100) @ words.T)
    return weights


def document_prior(params: Params) -> Array:
    """Return the prior weights of the topics, falling by their rank or not (Wallach et al. 2009)."""
    shares = (1.0 + np.arange(params["topics"])) ** -params.get("fall", 0.0)
    prior: Array = params["document_prior"] * shares / shares.mean()
    return prior


def run(params: Params, seed: int) -> Curve:
    """Hoffman et al. 2010, or with a step of constant size. An epoch is 200 documents that have not been seen before.

    The metric is the logarithm of the perplexity of the second halves of documents, whose topics the first halves tell.
    """
    rng = np.random.default_rng(seed)
    counts, told, asked = data()
    prior, size, updates = document_prior(params), params["batch_size"], 0
    weights = rng.gamma(params["first_shape"], 1 / params["first_shape"], (params["topics"], WORDS))
    for seen in np.split(rng.permutation(STREAM), EPOCHS):
        for batch in np.split(seen, range(size, SAMPLES, size)):
            words = geometric_mean(weights)
            means = geometric_mean(document_weights(counts[batch], words, prior, params["inner_steps"]))
            found = words * (means.T @ (counts[batch] / (means @ words + 1e-100)))
            rate = params["rate"] if params["step"] == "constant" else (params["offset"] + updates) ** -params["decay"]
            weights = (1 - rate) * weights + rate * (params["word_prior"] + STREAM / len(batch) * found)
            updates += 1
        mixtures = document_weights(told, geometric_mean(weights), prior, VALIDATION_STEPS)
        mixtures, topics = (each / each.sum(1, keepdims=True) for each in (mixtures, weights))
        yield (float(-(asked * np.log(mixtures @ topics)).sum() / asked.sum()),)


TRAINING = Training(
    data="generated: documents of 50 words out of 200, on 25 topics; 5000 for training, each once, 100 for validation",
    model="latent Dirichlet allocation by stochastic variational inference",
    space={
        "topics": {"low": 2, "high": 60, "log": True},
        "word_prior": {"low": 1e-3, "high": 10.0, "log": True},
        "document_prior": {"low": 1e-3, "high": 10.0, "log": True},
        "prior": {"choices": {"symmetric": {}, "falling": {"fall": {"low": 0.1, "high": 2.0}}}},
        "step": {
            "choices": {
                "decay": {"decay": {"low": 0.4, "high": 1.0}, "offset": {"low": 1.0, "high": 3000.0, "log": True}},
                "constant": {"rate": {"low": 1e-3, "high": 1.0, "log": True}},
            }
        },
        "batch_size": {"choices": [10, 30, 100]},
        "inner_steps": {"low": 1, "high": 20, "log": True},
        "first_shape": {"low": 0.1, "high": 1000.0, "log": True},
    },
    epochs=EPOCHS,
    metric="val_log_perplexity",
    direction="minimize",
    configurations=320,
    run=run,
    work=lambda p: Work(SAMPLES / p["batch_size"], 2 * (p["inner_steps"] + 1) * SAMPLES * WORDS * p["topics"]),
)
