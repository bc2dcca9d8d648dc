"""Training of one network that ranks sounds, and scores of the kept weights on held-out clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpo.trial import Trial
from objectives.audio_angle import data, models
from objectives.audio_angle.data import Ranking, Spectrograms
from objectives.audio_angle.measures import Measures
from objectives.audio_angle.pairs import all_pairs, draw_pairs
from objectives.losses.ghm_ranking import GHMRankingLoss
from objectives.losses.own import EXPECTED
from objectives.micro_batches import Batch, Result
from objectives.options import OWN_LOSS
from objectives.task import Evaluation, Task, Trained
from objectives.training import LOOP_DEFAULTS, Problem, to_device

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
    """Train a network on the sounds of a study, or on generated ones if there is no data.root.

    Each epoch reports, for train and val, the loss and its components original and reweighted, and pair_accuracy (of
    train over the epoch's pairs, of val over all pairs of validation clips); val_kendall_tau; train_ghm_<statistic>
    (`objectives.audio_angle.measures`); and what the training loop adds.

    Args:
        trial: Its parameters and constants are those of DEFAULTS, searched or not; all may be left out. loss is
            "hinge" with margin, "ghm_ranking" with bins, alpha, margin and momentum, or a loss of the user's own.

    Returns:
        The metrics of the epoch of the best val_pair_accuracy.
    """
    return AudioAngle(trial).train()


def evaluate(trial: Trial, folder: Path | None) -> dict[str, Any]:
    """Score the kept weights on held-out clips: loss, original, reweighted, pair_accuracy, kendall_tau."""
    return AudioAngle(trial).evaluate(folder)


def validate(trial: Trial) -> dict[str, Any]:
    """Score the kept weights on the validation clips, as `evaluate` does on held-out ones."""
    return AudioAngle(trial).validate()


def predict(trial: Trial, split: str, folder: Path | None) -> Iterator[dict[str, Any]]:
    """Return what the kept weights say of each clip, its score. See `Task.predict`."""
    return AudioAngle(trial).predict(split, folder)


def check_data(trial: Trial) -> str:
    """Load the data as `train` does, and return what they are; ValueError if they are wrong."""
    return AudioAngle(trial).dataset.summary


def load(path: Path, device: str = "cpu") -> Trained:
    """Return the network of a weights.pt; `scaled` takes spectrograms in decibels, (n, 1, bins, frames)."""
    return AudioAngle.from_weights(path, device)


class AudioAngle(Task[Ranking, Spectrograms, nn.Module]):
    """A trial of the ranking of sounds."""

    defaults = DEFAULTS
    tensors_of_loss = 3
    monitor = "val_pair_accuracy"
    no_test = "neither do its files name one nor is there a data.test_fraction"

    def check_options(self) -> None:
        """Raise ValueError for a count that is no whole number of at least 1."""
        counts = {name: self.options[name] for name in ("base_width", "batch_size", "pairs_per_epoch")}
        counts["data.validation_pairs"] = self.options["data"]["validation_pairs"]
        for name, value in counts.items():
            optional = name in ("pairs_per_epoch", "data.validation_pairs")
            if not (isinstance(value, int) and value >= 1) and not (optional and value is None):
                raise ValueError(f"{name} is {value!r}; expected a whole number of at least 1{' or none' * optional}")

    def load(self, root: Path | None) -> Ranking:
        """Load the spectrograms of each split."""
        return data.load(root, **data.arguments(self.options["data"]))

    def inputs_of(self, dataset: Ranking) -> dict[str, Any]:
        """Return what a clip is brought to: samples and their rate; mean and standard deviation of decibels."""
        return {name: getattr(dataset, name) for name in ("mean", "std", "rate", "samples")}

    def validation_split(self) -> Spectrograms:
        """Return the validation clips of the study's data."""
        return self.dataset.val

    def test_split(self) -> Spectrograms | None:
        """Return the test clips of the study's data."""
        return self.dataset.test

    def load_held_out(self, folder: Path) -> Spectrograms:
        """Load held-out clips in one of the layouts of `data.load_folder`."""
        given = data.arguments(self.options["data"])
        like = self.inputs["rate"], self.inputs["samples"]
        return data.load_folder(folder, *like, given["layout"], given["picture"], given["sample_rate"])

    def build(self) -> nn.Module:
        """Build the network that gives each spectrogram a score."""
        return models.build(self.options["architecture"], self.options["base_width"])

    def problem(self, model: nn.Module) -> Problem:
        """Return the pairs of an epoch with their clips, and what measures them."""
        train = self.dataset.train
        (images,) = to_device([train.images], self.device)
        count = self.options["pairs_per_epoch"] or len(images)
        own = self.options.get(OWN_LOSS)
        criterion = criterion_of(self.options).to(self.device)
        held_out_criterion = self._held_out_criterion()
        held_out = self._whole(self.dataset.val)

        def batches(epoch: int) -> Iterator[Batch]:
            first, second, sign = draw_pairs(train.ranks, count, self.trial.seed, epoch)
            for start in range(0, count, self.options["batch_size"]):
                pairs = slice(start, start + self.options["batch_size"])
                # A clip that is in several pairs is scored once.
                clips, places = torch.unique(torch.cat([first[pairs], second[pairs]]), return_inverse=True)
                a, b = (one.to(self.device) for one in places.tensor_split(2))
                yield sign[pairs].to(self.device), a, b, self.scaled(images[clips.to(images.device)])

        def losses(network: nn.Module, batch: Batch) -> Result:
            return losses_of(criterion if network.training else held_out_criterion, network, batch, own)

        trained = criterion if own is None else nn.ModuleList([criterion, own])
        return Problem(batches, lambda: [held_out], losses, measures_of(self.options), trained, split=parts_of)

    def evaluation(self, model: nn.Module, held_out: Spectrograms) -> Evaluation:
        """Return held-out clips as one batch, with the losses and metrics of validation."""
        criterion, own = self._held_out_criterion(), self.options.get(OWN_LOSS)
        return Evaluation(
            [self._whole(held_out)],
            lambda network, batch: losses_of(criterion, network, batch, own),
            measures_of(self.options),
            lambda outputs: predictions(outputs, held_out),
        )

    def _held_out_criterion(self) -> GHMRankingLoss:
        # Held-out pairs are weighted by their own density, not by an average over training.
        return criterion_of({**self.options, "momentum": 0.0}).to(self.device)

    def _whole(self, clips: Spectrograms) -> Batch:
        """Make one batch of a split, since the weight of a pair depends on all others."""
        options = self.options["data"]
        first, second, sign = all_pairs(clips.ranks, options["validation_pairs"], options["seed"])
        scaled, ranks = self.scaled(clips.images), torch.from_numpy(clips.ranks)
        return sign.to(self.device), first.to(self.device), second.to(self.device), scaled, ranks.to(self.device)

    def inputs_in(self, held_out: Spectrograms) -> Iterator[tuple[Tensor, ...]]:
        """Return held-out spectrograms, scaled."""
        return ((self.scaled(part),) for part in torch.split(held_out.images, EVALUATION_CLIPS))

    def answers(self, model: nn.Module, *inputs: Tensor) -> dict[str, Any]:
        """Return the score of each clip, (n,)."""
        return {"score": model(*inputs).double()}

    def truths(self, held_out: Spectrograms) -> dict[str, Any]:
        """Return the ranks of held-out clips, and whose each is where that is known."""
        found: dict[str, Any] = {"rank": held_out.ranks, "about": {"items": "clips"}}
        if held_out.groups is not None:
            found["group"] = np.array(held_out.groups)
            found["about"]["groups"] = "patients"
        return found

    def new_inputs(self, folder: Path) -> Iterator[tuple[list[str], tuple[Tensor, ...]]]:
        """Return the clips of a folder."""
        given = data.arguments(self.options["data"])
        like = self.inputs["rate"], self.inputs["samples"], given["picture"], given["sample_rate"] is not None
        for names, images in data.new_clips(folder, *like):
            yield names, (self.scaled(images),)

    def scaled(self, *raw: Tensor) -> Tensor:
        """Scale decibels to mean 0 and standard deviation 1 over the training clips."""
        (images,) = raw
        scaled: Tensor = (images.to(self.device, non_blocking=True) - self.inputs["mean"]) / self.inputs["std"]
        return scaled


def predictions(outputs: Mapping[str, Tensor], clips: Spectrograms) -> dict[str, Any]:
    """Return the table of clips with their ranks and scores."""
    columns: dict[str, Any] = {name: outputs[name].double().numpy() for name in ("rank", "score")}
    about = {"items": "clips"}
    if clips.groups is not None:
        columns["group"], about["groups"] = np.array(clips.groups), "patients"
    return {"predictions": columns, "about": about}


def criterion_of(options: Mapping[str, Any]) -> GHMRankingLoss:
    """Return the loss that the options name.

    The hinge is the reweighted loss with an exponent of 0, and so has the same statistics recorded; so has a loss of
    the user's own, which is trained in its place.

    Raises:
        ValueError: There is no loss of that name.
    """
    name = options["loss"]
    if name not in ("hinge", "ghm_ranking") and options.get(OWN_LOSS) is None:
        raise ValueError(f"loss is {name!r}; expected hinge or ghm_ranking, or {EXPECTED}")
    alpha, momentum = (options["alpha"], options["momentum"]) if name == "ghm_ranking" else (0.0, 0.0)
    return GHMRankingLoss(bins=options["bins"], alpha=alpha, margin=options["margin"], momentum=momentum)


def measures_of(options: Mapping[str, Any]) -> Measures:
    """Return the metrics of a pass over pairs or clips."""
    loss = criterion_of(options)
    return Measures(
        options["bins"], options["margin"], options["batch_size"], options["ghm_statistics"], loss.alpha, loss.momentum
    )


def losses_of(criterion: GHMRankingLoss, network: nn.Module, batch: Batch, own: nn.Module | None = None) -> Result:
    """Return the losses and the outputs of a batch of pairs.

    Args:
        criterion: The loss, and the source of the statistics of gradients.
        network: Gives each clip a score.
        batch: sign, first and second (p,); clips (c, 1, bins, frames), which first and second point into; and in
            validation the ranks (c,) of the clips, which there are all of the split.
        own: A loss of the user's own that is minimised in place of the criterion.
    """
    sign, first, second, clips, *ranks = batch
    size = len(clips) if network.training else EVALUATION_CLIPS
    scores = torch.cat([network(clips[start : start + size]) for start in range(0, len(clips), size)]).float()
    pairs = scores[first], scores[second], sign
    reweighted = criterion(*pairs)
    loss = reweighted if own is None else own(*pairs)
    losses = {"loss": loss, "original": criterion.original, "reweighted": reweighted}
    if ranks:
        return losses, {"score": scores, "rank": ranks[0]}
    lead = sign * (scores[first] - scores[second])
    return losses, {"lead": lead, "gradient_norm": criterion.gradient_norms, "weight": criterion.weights}


def parts_of(batch: Batch, parts: int) -> list[Batch]:
    """Divide a training batch into parts with nearly as many pairs each, and the clips that its pairs point into.

    A whole split stays whole, since its outputs are of clips and the weight of a pair depends on all others.
    """
    sign, first, second, clips, *ranks = batch
    if ranks:
        return [batch]
    found: list[Batch] = []
    for s, a, b in zip(*(each.tensor_split(parts) for each in (sign, first, second)), strict=True):
        used, places = torch.unique(torch.cat([a, b]), return_inverse=True)
        found.append((s, places[: len(a)], places[len(a) :], clips[used]))
    return found
