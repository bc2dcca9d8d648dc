"""What the trainings of small networks share: layers, optimizers, schedules, batches. One thread, float32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.search.trainings.training import Params, Work

OPTIMIZERS = {
    "choices": {
        "sgd": {"momentum": {"low": 0.0, "high": 0.99}},
        "adam": {"beta2": {"choices": [0.9, 0.99, 0.999]}},
    }
}
FOCAL = {"gamma": {"low": 0.0, "high": 5.0}, "focal_alpha": {"low": 0.05, "high": 0.95}}
SCHEDULES = {
    "choices": {
        "constant": {},
        "cosine": {},
        "step": {"drop_at": {"low": 0.3, "high": 0.9}, "drop_factor": {"low": 0.01, "high": 0.5, "log": True}},
    }
}


def mlp(widths: Sequence[int], activation: type[nn.Module] = nn.ReLU, dropout: float = 0.0) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers += [nn.Linear(inputs, outputs), activation()] + ([nn.Dropout(dropout)] if dropout else [])
    return nn.Sequential(*layers, nn.Linear(*widths[-2:]))


def mlp_operations(widths: Sequence[int]) -> int:
    """Return the multiplications of one sample's forward pass."""
    return sum(a * b for a, b in pairwise(widths))


def training_work(samples: int, batch_size: int, operations: float) -> Work:
    """Return an epoch's work; the backward pass costs two forward passes."""
    return Work(math.ceil(samples / batch_size), 3 * samples * operations)


def optimizer_of(model: nn.Module, params: Params) -> torch.optim.Optimizer:
    rate, decay = params["learning_rate"], params.get("weight_decay", 0.0)
    if params.get("optimizer", "adam") == "sgd":
        momentum = params.get("momentum", 0.0)
        return torch.optim.SGD(model.parameters(), rate, momentum, weight_decay=decay)
    betas = (0.9, params.get("beta2", 0.999))
    return torch.optim.AdamW(model.parameters(), rate, betas, weight_decay=decay, fused=True)


def rate_factor(params: Params, done: float) -> float:
    """Return what multiplies the learning rate after a share of the training."""
    warmup = params.get("warmup", 0.0)
    if done < warmup:
        return (done + 0.01) / (warmup + 0.01)
    match params.get("schedule", "constant"):
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
        case "step":
            return params["drop_factor"] if done >= params["drop_at"] else 1.0
    return 1.0


def schedule_epochs(optimizer: torch.optim.Optimizer, params: Params, epochs: int) -> Iterator[int]:
    """Yield the epochs, with the learning rate of each set before it."""
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = params["learning_rate"] * rate_factor(params, epoch / epochs)
        yield epoch


def step(optimizer: torch.optim.Optimizer, loss: Tensor, max_norm: float | None = None) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if max_norm is not None:
        nn.utils.clip_grad_norm_([each for group in optimizer.param_groups for each in group["params"]], max_norm)
    optimizer.step()


def focal_loss(params: Params, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of each label (Lin et al. 2017), with the parameters of FOCAL."""
    each = binary_cross_entropy_with_logits(logits, labels, reduction="none")
    wrong = (torch.sigmoid(logits) - labels).abs().clamp(min=1e-6)  # at 0 a power below 1 has no slope
    balance = torch.where(labels > 0, params["focal_alpha"], 1 - params["focal_alpha"])
    return each * balance * wrong.pow(params["gamma"])


def batches(samples: int, size: int) -> Iterator[Tensor]:
    yield from torch.randperm(samples).split(size)


def standardise(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    return tuple((each - mean) / deviation for each in (train, *others))
