"""Patches of photographs by sparse sums of the atoms of a dictionary that is learnt online."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

from benchmarks.search.trainings.training import Curve, Params, Training, Work

EPOCHS, SAMPLES, SIDE, PRICE = 25, 400, 8, 0.01
Array = NDArray[np.float64]


@cache
def data() -> tuple[Array, Array]:
    """Patches of both photographs, less their mean: training from the left halves, 200 of validation from the right."""
    rng = np.random.default_rng(42)
    found: list[list[Array]] = [[], []]
    for image in load_sample_images().images:
        halves = np.array_split(image.mean(2)[::2, ::2] / 255, 2, axis=1)
        for half, patches, count in zip(halves, found, (SAMPLES // 2, 100), strict=True):
            corners = rng.integers(0, np.array(half.shape) - SIDE, (count, 2))
            patches.extend(half[a : a + SIDE, b : b + SIDE].ravel() for a, b in corners)
    train, validation = (np.array(each) - np.mean(each, 1, keepdims=True) for each in found)
    return train / train.std(), validation / train.std()


def shrink(codes: Array, params: Params, size: float) -> Array:
    """soft: for a price of the codes' sizes. hard: for one of their number (Blumensath and Davies 2008)."""
    if params["shrinkage"] == "soft":
        return codes - np.clip(codes, -size * params["penalty"], size * params["penalty"])
    return np.where(codes**2 > 2 * size * params["penalty"], codes, 0)


def codes_of(x: Array, atoms: Array, params: Params) -> Array:
    """ista: Daubechies et al. 2004. threshold: of the products with the atoms."""
    projected = x @ atoms.T
    if params["coder"] == "threshold":
        return shrink(projected, params, 1.0)
    size, gram, found = 1 / np.linalg.eigvalsh(atoms.T @ atoms)[-1], atoms @ atoms.T, np.zeros_like(projected)
    for _ in range(params["iterations"]):
        found = shrink(found + size * (projected - found @ gram), params, size)
    return found


def unit(atoms: Array) -> Array:
    lengths: Array = np.linalg.norm(atoms, axis=-1, keepdims=True)
    return atoms / (lengths + 1e-9)


def run(params: Params, seed: int) -> Curve:
    """gradient: Olshausen and Field 1997. online: Mairal et al. 2009, with forgetting.

    The metric is the squared error, as a share of the patches' variance, and a fixed price for each code that is not 0.
    """
    rng, (x, val_x) = np.random.default_rng(seed), data()
    atoms = unit(rng.normal(size=(params["atoms"], SIDE**2)))
    if params["start"] == "patches":
        atoms = unit(x[rng.choice(SAMPLES, len(atoms), replace=False)] + 0.1 * atoms)
    speed, seen, joint, updates = np.zeros_like(atoms), np.zeros((len(atoms),) * 2), np.zeros_like(atoms), 0
    for _ in range(EPOCHS):
        for batch in np.array_split(rng.permutation(SAMPLES), SAMPLES // params["batch_size"]):
            codes, updates = codes_of(x[batch], atoms, params), updates + 1
            if params["update"] == "gradient":
                speed = params["momentum"] * speed + codes.T @ (x[batch] - codes @ atoms) / len(batch)
                atoms = unit(atoms + params["learning_rate"] * speed)
                continue
            kept = (1 - 1 / updates) ** params["forgetting"]
            seen, joint = kept * seen + codes.T @ codes, kept * joint + codes.T @ x[batch]
            for one in np.flatnonzero(np.diag(seen) > 1e-6):
                atoms[one] = unit(atoms[one] + (joint[one] - seen[one] @ atoms) / seen[one, one])
        codes = codes_of(val_x, atoms, params)
        error = ((val_x - codes @ atoms) ** 2).mean() / (val_x**2).mean()
        if not np.isfinite(error):
            return
        yield (float(error + PRICE * (codes != 0).sum(1).mean()),)


def work(params: Params) -> Work:
    size, updates = params["atoms"], SAMPLES // params["batch_size"]
    coding = size * SIDE**2 + params.get("iterations", 0) * size**2
    learning = 2 * SAMPLES * size * SIDE**2 + (updates * size**2 * SIDE**2 if params["update"] == "online" else 0)
    return Work(updates, SAMPLES * coding + learning)


RATE, MOMENTUM = {"low": 1e-3, "high": 10.0, "log": True}, {"low": 0.0, "high": 0.99}
ISTA = {"iterations": {"low": 2, "high": 30, "log": True}}
ONLINE = {"forgetting": {"low": 0.1, "high": 100.0, "log": True}}
TRAINING = Training(
    data="8x8 patches of scikit-learn's two photographs: 400 of the left halves, 200 of the right for validation",
    model="sparse coding with a learnt dictionary",
    space={
        "atoms": {"low": 16, "high": 160, "log": True},
        "coder": {"choices": {"threshold": {}, "ista": ISTA}, "structural": True},
        "shrinkage": {"choices": ["soft", "hard"]},
        "penalty": {"low": 0.01, "high": 10.0, "log": True},
        "update": {"choices": {"gradient": {"learning_rate": RATE, "momentum": MOMENTUM}, "online": ONLINE}},
        "start": {"choices": ["noise", "patches"]},
        "batch_size": {"choices": [10, 25, 80]},
    },
    epochs=EPOCHS,
    metric="val_error_and_codes",
    direction="minimize",
    configurations=320,
    run=run,
    work=work,
)
