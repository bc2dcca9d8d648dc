"""Train one network to rank sounds, and score the kept weights on held-out clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpo.trial import Trial
from objectives.audio_angle import data, models
from objectives.audio_angle.data import Ranking, Spectrograms
from objectives.audio_angle.measures import Measures
from objectives.audio_angle.pairs import all_pairs, draw_pairs
from objectives.losses.ghm_ranking import GHMRankingLoss
from objectives.options import chosen
from objectives.recording import WEIGHTS, load_weights, write_data
from objectives.training import LOOP_DEFAULTS, Batch, Settings, fit, pick_device, score, settings_in, to_device

DEFAULTS: dict[str, Any] = {
    **LOOP_DEFAULTS,
    "architecture": "resnet_small",
    "base_width": 16,
    "loss": "ghm_ranking",
    "margin": 1.0,
    "bins": 10,
    "alpha": 0.75,
    "momentum": 0.0,
    "learning_rate": 1e-3,
    "batch_size": 32,
    "pairs_per_epoch": None,
    "ghm_statistics": "epoch",
    "epochs": 60,
    "checkpoint_every": 5,
    "data": {
        "root": None,
        "labels": None,
        "audio": None,
        "columns": {"file": None, "rank": None, "patient": None, "split": None},
        "classes": None,
        "material": "plastic",
        "frequency": "3000hz",
        "ignore_extra": False,
        "sample_rate": None,
        "seconds": None,
        "n_fft": 2048,
        "hop": 256,
        "window": None,
        "floor": 1e-10,
        "bands": None,
        "val_fraction": 0.2,
        "test_fraction": 0.0,
        "seed": 0,
        "clips": 600,
        "validation_pairs": 100_000,
    },
}
# Clips that are scored at once where no gradients are kept.
EVALUATION_CLIPS = 64


def train(trial: Trial) -> dict[str, float]:
    """params and constants: those of DEFAULTS, searched or not; all may be left out, and without data.root the sounds
    are generated. loss: "hinge" with margin, or "ghm_ranking" with bins, alpha, margin and momentum.

    Reports for train and val the loss and its components original and reweighted, and pair_accuracy (of train over
    the epoch's pairs, of val over all pairs of validation clips); val_kendall_tau; train_ghm_<statistic>
    (`objectives.audio_angle.measures`) and what `objectives.training.fit` adds. Returns those of the epoch of the
    best val_pair_accuracy."""
    options = chosen(trial, DEFAULTS)
    _check_counts(options)
    dataset = _load(trial.root, options["data"])
    print(dataset.summary, flush=True)
    write_data(trial.directory, dataset.fingerprints)
    device = pick_device()
    (images,) = to_device([dataset.train.images], device)
    count = options["pairs_per_epoch"] or len(images)

    torch.manual_seed(trial.seed)
    model = models.build(options["architecture"], options["base_width"]).to(device)
    criterion, held_out_criterion = criterion_of(options).to(device), held_out_criterion_of(options).to(device)
    measures = measures_of(options)

    def batches(epoch: int) -> Iterator[Batch]:
        first, second, sign = draw_pairs(dataset.train.ranks, count, trial.seed, epoch)
        for one in torch.arange(count).split(options["batch_size"]):
            # A clip that is in several pairs is scored once.
            clips, places = torch.unique(torch.cat([first[one], second[one]]), return_inverse=True)
            scaled = _scaled(images[clips.to(images.device)], dataset, device)
            yield (sign[one].to(device), places[: len(one)].to(device), places[len(one) :].to(device), scaled)

    held_out = _whole(dataset.val, dataset, device, options["data"]["validation_pairs"], options["data"]["seed"])

    def losses(network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return losses_of(criterion if network.training else held_out_criterion, network, batch)

    settings = Settings(monitor="val_pair_accuracy", maximize=True, **settings_in(options))
    return fit(trial, model, settings, batches, lambda: [held_out], losses, measures, criterion, split=parts_of)


def evaluate(trial: Trial, folder: Path | None) -> dict[str, float]:
    """Score the weights that `train` kept in `trial.directory`: loss, original, reweighted, pair_accuracy, kendall_tau.

    folder: held-out clips in one of the layouts of `data.load_folder`; None: the test split of the study's own data.
    Raises FileNotFoundError without weights, ValueError when there is no test split."""
    options = chosen(trial, DEFAULTS)
    dataset = _load(trial.root, options["data"])
    clips = dataset.test
    if folder is not None:
        given = data.arguments(options["data"])
        clips = data.load_folder(folder, dataset, given["layout"], given["picture"], given["sample_rate"])
    if clips is None:
        raise ValueError(
            "the study's data has no test split: neither do its files name one nor is there a data.test_fraction"
        )
    device = pick_device()
    model = models.build(options["architecture"], options["base_width"]).to(device)
    model.load_state_dict(load_weights(trial.directory / WEIGHTS, device)["model"])
    criterion = held_out_criterion_of(options).to(device)
    measures = measures_of(options)
    whole = _whole(clips, dataset, device, options["data"]["validation_pairs"], options["data"]["seed"])
    return score(model, [whole], lambda network, batch: losses_of(criterion, network, batch), measures)


def criterion_of(options: Mapping[str, Any]) -> GHMRankingLoss:
    """The loss that `options` name; the hinge is the reweighted one with an exponent of 0, and so has the same
    statistics recorded.

    Raises ValueError for an unknown name."""
    name = options["loss"]
    if name not in ("hinge", "ghm_ranking"):
        raise ValueError(f"loss is {name!r}; expected hinge or ghm_ranking")
    alpha, momentum = (options["alpha"], options["momentum"]) if name == "ghm_ranking" else (0.0, 0.0)
    return GHMRankingLoss(bins=options["bins"], alpha=alpha, margin=options["margin"], momentum=momentum)


def held_out_criterion_of(options: Mapping[str, Any]) -> GHMRankingLoss:
    """The loss by which held-out pairs are measured: weighted by their own density, not by an average over training."""
    return criterion_of({**options, "momentum": 0.0})


def measures_of(options: Mapping[str, Any]) -> Measures:
    loss = criterion_of(options)
    return Measures(
        options["bins"], options["margin"], options["batch_size"], options["ghm_statistics"], loss.alpha, loss.momentum
    )


def losses_of(
    criterion: GHMRankingLoss, network: nn.Module, batch: Batch
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses of the pairs of a batch: sign, first and second (p,), clips (c, 1, bins, frames) that the two point into,
    and in validation the ranks (c,) of the clips, which there are all of the split."""
    sign, first, second, clips, *ranks = batch
    parts = clips.split(len(clips) if network.training else EVALUATION_CLIPS)
    scores = torch.cat([network(part) for part in parts]).float()
    reweighted = criterion(scores[first], scores[second], sign)
    losses = {"loss": reweighted, "original": criterion.original, "reweighted": reweighted}
    if ranks:
        return losses, {"score": scores, "rank": ranks[0]}
    lead = sign * (scores[first] - scores[second])
    return losses, {"lead": lead, "gradient_norm": criterion.gradient_norms, "weight": criterion.weights}


def parts_of(batch: Batch, parts: int) -> list[Batch]:
    """The pairs of a training batch in parts of nearly the same size, each with the clips that its pairs point into.
    A whole split stays whole: what it gives is of clips, and a pair weighs by all others."""
    sign, first, second, clips, *ranks = batch
    if ranks:
        return [batch]
    found: list[Batch] = []
    for s, a, b in zip(*(each.tensor_split(parts) for each in (sign, first, second)), strict=True):
        used, places = torch.unique(torch.cat([a, b]), return_inverse=True)
        found.append((s, places[: len(a)], places[len(a) :], clips[used]))
    return found


def _check_counts(options: Mapping[str, Any]) -> None:
    counts = {name: options[name] for name in ("base_width", "batch_size", "pairs_per_epoch")}
    counts["data.validation_pairs"] = options["data"]["validation_pairs"]
    for name, value in counts.items():
        optional = name in ("pairs_per_epoch", "data.validation_pairs")
        if not (isinstance(value, int) and value >= 1) and not (optional and value is None):
            raise ValueError(f"{name} is {value!r}; expected a whole number of at least 1{' or none' * optional}")


def _load(root: Path, options: Mapping[str, Any]) -> Ranking:
    given = options["root"]
    return data.load(root / given if given is not None else None, **data.arguments(options))


def _whole(clips: Spectrograms, dataset: Ranking, device: torch.device, pairs: int | None, seed: int) -> Batch:
    """A split as one batch: what a pair weighs depends on all others."""
    first, second, sign = all_pairs(clips.ranks, pairs, seed)
    scaled = _scaled(clips.images, dataset, device)
    return (sign.to(device), first.to(device), second.to(device), scaled, torch.from_numpy(clips.ranks).to(device))


def _scaled(images: Tensor, dataset: Ranking, device: torch.device) -> Tensor:
    """Decibels as numbers of mean 0 and standard deviation 1 over the training clips."""
    return (images.to(device, non_blocking=True) - dataset.mean) / dataset.std
