"""Training of one network that finds the rare digit: a whole loop, from top to bottom.

It knows nothing of samplers, pruners or processes. It runs on the CPU: with images of 8 x 8 a GPU would only wait for
its kernels to be launched.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from hpo.trial import Pruned, Trial
from objectives.losses.focal import binary_focal_loss
from objectives.quickstart import data, models
from objectives.recording import write_data


def train(trial: Trial) -> dict[str, float]:
    """Train a network; report after each epoch, counted from 1, and return what was reported last.

    A repeated attempt goes on from the last saved state, to bitwise the same numbers.

    Args:
        trial: Its parameters are architecture, learning_rate, batch_size, loss ("bce", or "focal" with gamma, alpha).
            Its constants are epochs, weight_decay, and data (the keywords of `data.load`); all may be left out.
    """
    params, constants = trial.params, trial.constants
    digits = data.load(**constants.get("data", {}))
    write_data(trial.directory, digits.fingerprints)
    epochs = constants.get("epochs", 20)

    def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
        if params["loss"] == "focal":
            return binary_focal_loss(logits, targets, params["gamma"], params["alpha"])
        return F.binary_cross_entropy_with_logits(logits, targets)

    torch.manual_seed(trial.seed)
    model = models.build(params["architecture"])
    settings = {"lr": params["learning_rate"], "weight_decay": constants.get("weight_decay", 0.01)}
    optimizer = torch.optim.AdamW(model.parameters(), **settings)
    first, metrics = 1, {}
    if (state := trial.restore()) is not None:
        first, metrics = state["epoch"] + 1, state["metrics"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        optimizer.param_groups[0].update(settings)  # those saved are of another trial under sampler pbt
        torch.set_rng_state(state["rng"])
        # The earlier attempt may have died between its save and its report.
        trial.report(state["epoch"], **metrics)

    for epoch in range(first, epochs + 1):
        # The order depends on seed and epoch alone, so a resumed epoch sees the batches it would have seen.
        rng = np.random.default_rng([trial.seed, epoch])
        order = torch.from_numpy(rng.permutation(len(digits.train_images)))
        model.train()
        loss_sum, found = 0.0, 0
        for batch in order.split(params["batch_size"]):  # type: ignore[no-untyped-call]
            images, targets = digits.train_images[batch], digits.train_targets[batch]
            logits = model(images)
            loss = loss_of(logits, targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += loss.item() * len(batch)
            found += int(((logits > 0) & (targets > 0)).sum())
        train_loss = loss_sum / len(order)
        if not math.isfinite(train_loss):
            raise Pruned(f"train_loss is {train_loss} in epoch {epoch}")

        model.eval()
        with torch.no_grad():
            logits = model(digits.val_images)
        targets = digits.val_targets
        metrics = {
            "train_loss": train_loss,
            "val_loss": loss_of(logits, targets).item(),
            "val_average_precision": float(average_precision_score(targets.numpy(), logits.numpy())),
            "val_auc": float(roc_auc_score(targets.numpy(), logits.numpy())),
            "train_recall": found / digits.train_targets.sum().item(),
            "val_recall": ((logits > 0) & (targets > 0)).sum().item() / targets.sum().item(),
        }
        trial.save({
            "epoch": epoch,
            "metrics": metrics,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rng": torch.get_rng_state(),  # dropout draws from it
        })  # fmt: skip
        trial.report(epoch, **metrics)
    return metrics


def predict(trial: Trial, split: str, folder: Path | None) -> dict[str, Any]:
    """Return the probability that each validation image shows the rare digit, for `hpo ensemble`."""
    if split != "val":
        raise ValueError("the quickstart has no images but those that it trains and validates on")
    digits = data.load(**trial.constants.get("data", {}))
    model = models.build(trial.params["architecture"])
    if (state := trial.restore()) is None:
        raise ValueError(f"the checkpoint in {trial.directory} cannot be restored")
    model.load_state_dict(state["model"])
    model.eval()
    with torch.no_grad():
        scores = model(digits.val_images).double().sigmoid()
    return {"score": scores, "target": digits.val_targets > 0, "about": {"items": "images"}}
