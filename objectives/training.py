"""The training loop of the built-in tasks, from top to bottom, with everything that must survive a kill.

What differs between tasks comes in as three functions: the batches of an epoch, the losses of a batch,
the metrics of the validation data. Knows nothing of samplers, pruners or processes, and trains on one
device."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpo.trial import Pruned, Trial

# Beside the trial's other files: per-step losses, and the weights of the best epoch.
STEPS = "steps.npz"
WEIGHTS = "weights.pt"

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# The learning rate of an epoch as a part of the full one, from how much of the training is done, 0 to below 1:
# a function of the epoch alone, so that there is no state to lose. cosine: Loshchilov & Hutter, "SGDR", 2017, eq. 5.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}


@dataclass(frozen=True)
class Settings:
    """How to train.

    monitor: the validation metric that says which epoch is best, larger being better if `maximize`.
    patience: epochs without a better one before training stops (None: never). weight_decay: of AdamW.
    schedule: of the learning rate over the epochs, one of SCHEDULES. precision: of the forward pass, one of
    PRECISIONS, or "auto": bfloat16 on a GPU that has it, else float32. checkpoint_every: epochs between two
    saved states. compile: run the model through torch.compile. settle_batches: training batches from which
    batch normalisation takes its statistics anew before each validation (0: the running averages)."""

    learning_rate: float
    monitor: str
    maximize: bool
    epochs: int
    patience: int | None = None
    weight_decay: float = 0.01
    schedule: str = "constant"
    precision: str = "auto"
    checkpoint_every: int = 1
    compile: bool = False
    settle_batches: int = 0


def with_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any], where: str = "constants") -> dict[str, Any]:
    """`defaults` overridden by `given`; a mapping in both is merged likewise.

    Raises ValueError for a name that has no default, with the nearest one that has: a misspelt constant
    would otherwise be a setting that silently does nothing."""
    merged = dict(defaults)
    for name, value in given.items():
        if name not in defaults:
            close = difflib.get_close_matches(name, defaults, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"{where}.{name} is not known; expected {', '.join(defaults)}.{hint}")
        inner = defaults[name]
        merged[name] = with_defaults(value, inner, f"{where}.{name}") if isinstance(inner, Mapping) else value
    return merged


def settings_in(constants: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `constants` that are settings of the loop, to be handed to `Settings`."""
    return {field.name: constants[field.name] for field in fields(Settings) if field.name in constants}


def pick_device() -> torch.device:
    """The GPU that this worker was given, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_device(tensors: Iterable[Tensor], device: torch.device, share: float = 0.5) -> list[Tensor]:
    """`tensors` on `device` if they take at most `share` of its free memory, else in pinned host memory, from
    where a batch reaches the device while it computes."""
    kept = list(tensors)
    if device.type != "cuda":
        return kept
    free, _ = torch.cuda.mem_get_info(device)
    if sum(tensor.nbytes for tensor in kept) <= share * free:
        return [tensor.to(device) for tensor in kept]
    return [tensor.pin_memory() for tensor in kept]


def shuffled(n: int, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """The indices 0 to n - 1 in batches, in an order that depends on seed and epoch alone: an epoch that is
    trained again after a kill sees the batches that it would have seen."""
    order = np.random.default_rng([seed, epoch]).permutation(n)
    yield from torch.from_numpy(order).split(batch_size)


def fit(
    trial: Trial,
    model: nn.Module,
    settings: Settings,
    batches: Callable[[int], Iterable[tuple[Tensor, ...]]],
    losses: Callable[[nn.Module, tuple[Tensor, ...]], Mapping[str, Tensor]],
    validate: Callable[[nn.Module], Mapping[str, float]],
) -> dict[str, float]:
    """Train `model`, which is on its device already, and return the metrics of its best epoch, to which come
    best_epoch, epochs (trained) and training_seconds (of training and validation).

    batches(epoch): what one epoch trains on, tuples of tensors with one sample a row. losses(model, batch):
    scalars, of which `loss` is minimised and the others are components, recorded as they are. validate(model):
    metrics by name, `settings.monitor` among them.

    Each epoch, counted from 1, is reported with the training losses' means over samples as `train_<name>`, what
    `validate` returned, epoch_seconds, samples_per_second (of training) and, on a GPU, peak_gpu_mib. The losses of
    each step are kept in `steps.npz`, the best epoch's weights in `weights.pt`.
    A repeated attempt goes on where the one before it last saved, on a CPU to bitwise the same numbers.
    Raises Pruned when the loss is no longer finite."""
    device = next(model.parameters()).device
    precision = _precision(settings.precision, device)
    autocast = torch.autocast(device.type, precision, enabled=precision != torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    # Gradients of float16 underflow unless the loss is scaled up; bfloat16 has the range of float32.
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    network = torch.compile(model) if settings.compile else model
    schedule = _schedule(settings.schedule)

    epoch, best_epoch, elapsed = 0, 0, 0.0
    written = 0  # the epoch whose weights are on disk
    metrics: dict[str, float] = {}
    best: dict[str, Any] = {}
    steps: list[dict[str, np.ndarray]] = []
    if (state := trial.restore()) is not None:
        epoch, best_epoch, elapsed = state["epoch"], state["best_epoch"], state["elapsed"]
        metrics, best, steps = state["metrics"], state["best"], state["steps"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        _set_random_state(state["random"])
        del state  # it may lie on the GPU
        _write_weights(trial.directory, best)
        written = best_epoch
        # The earlier attempt may have died between its save and its report.
        trial.report(epoch, **metrics)

    while epoch < settings.epochs and not _out_of_patience(epoch, best_epoch, settings):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule(epoch / settings.epochs)
        epoch += 1
        began = time.perf_counter()
        model.train()
        recorded: list[dict[str, Tensor]] = []
        sizes: list[int] = []
        for batch in batches(epoch):
            with autocast:
                found = losses(network, batch)
            optimizer.zero_grad()
            scaler.scale(found["loss"]).backward()
            scaler.step(optimizer)
            scaler.update()
            # Not read here: the host would wait for the device at every step.
            recorded.append({name: value.detach() for name, value in found.items()})
            sizes.append(len(batch[0]))
        steps.append(_as_arrays(recorded))
        trained = time.perf_counter()
        means = {f"train_{name}": float(np.average(each, weights=sizes)) for name, each in steps[-1].items()}
        if not math.isfinite(means["train_loss"]):
            raise Pruned(f"train_loss is {means['train_loss']} in epoch {epoch}: the training diverged")

        with torch.no_grad(), autocast:
            settle(model, lambda batch: losses(network, batch), islice(batches(epoch), settings.settle_batches))
            model.eval()
            measured = dict(validate(network))
        ended = time.perf_counter()
        elapsed += ended - began
        metrics = means | measured
        metrics |= {"epoch_seconds": ended - began, "samples_per_second": sum(sizes) / (trained - began)}
        if device.type == "cuda":
            metrics["peak_gpu_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
        improved = not best or _better(metrics[settings.monitor], best["metrics"][settings.monitor], settings.maximize)
        if improved:
            best_epoch = epoch
            best = {"epoch": epoch, "metrics": metrics, "model": _copy(model.state_dict())}

        last = epoch == settings.epochs or _out_of_patience(epoch, best_epoch, settings)
        if last or epoch % settings.checkpoint_every == 0:
            trial.save({
                "epoch": epoch,
                "best_epoch": best_epoch,
                "elapsed": elapsed,
                "metrics": metrics,
                "best": best,
                "steps": steps,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scaler": scaler.state_dict(),
                "random": _random_state(),  # dropout draws from it
            })  # fmt: skip
            _write_steps(trial.directory, steps)
            if written < best_epoch:
                _write_weights(trial.directory, best)
                written = best_epoch
        trial.report(epoch, **metrics)
    return best["metrics"] | {"best_epoch": best_epoch, "epochs": epoch, "training_seconds": elapsed}


def settle(model: nn.Module, forward: Callable[[Any], object], batches: Iterable[Any]) -> None:
    """Give batch normalisation the mean statistics of `batches` under the weights as they are now.

    Its running averages are of weights that have moved on since: while the learning rate is high, or an epoch has
    few steps, validation would swing with them and a pruner with it. Source: Wu & Johnson, "Rethinking 'Batch' in
    BatchNorm", 2021, section 3 ("PreciseBN"). Without batches nothing changes; what trains is never touched."""
    layers = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for index, batch in enumerate(batches if layers else ()):
        if index == 0:
            for layer in layers:
                layer.reset_running_stats()
                layer.momentum = None  # torch: the plain mean over batches
        forward(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def load_weights(path: Path, device: torch.device) -> dict[str, Any]:
    """What `fit` kept of the best epoch: epoch, metrics, and the state_dict `model`.

    Raises FileNotFoundError when there are none, ValueError when the file is not of that kind."""
    kept = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(kept, dict) or not {"epoch", "metrics", "model"} <= kept.keys():
        raise ValueError(f"{path} does not hold the weights of a trial")
    return kept


def _precision(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    if name not in PRECISIONS:
        raise ValueError(f"precision is {name!r}; expected auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def _schedule(name: str) -> Callable[[float], float]:
    if name not in SCHEDULES:
        raise ValueError(f"schedule is {name!r}; expected {' or '.join(SCHEDULES)}")
    return SCHEDULES[name]


def _better(value: float, than: float, maximize: bool) -> bool:
    """NaN is never better, and anything is better than NaN."""
    if math.isnan(value) or math.isnan(than):
        return math.isnan(than) and not math.isnan(value)
    return value > than if maximize else value < than


def _out_of_patience(epoch: int, best_epoch: int, settings: Settings) -> bool:
    return settings.patience is not None and epoch - best_epoch >= settings.patience


def _as_arrays(recorded: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    """(steps of the epoch,) float64 by name of loss."""
    return {name: torch.stack([step[name] for step in recorded]).double().cpu().numpy() for name in recorded[0]}


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def _random_state() -> dict[str, Any]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def _write_steps(directory: Path, steps: list[dict[str, np.ndarray]]) -> None:
    """One array a loss, one entry a step, and `epoch`, the epoch of each step."""
    arrays = {name: np.concatenate([epoch[name] for epoch in steps]) for name in steps[0]}
    arrays["epoch"] = np.repeat(np.arange(1, len(steps) + 1), [len(epoch["loss"]) for epoch in steps])
    partial = directory / f"{STEPS}.partial"
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.replace(directory / STEPS)


def _write_weights(directory: Path, best: Mapping[str, Any]) -> None:
    partial = directory / f"{WEIGHTS}.partial"
    torch.save(dict(best), partial)
    partial.replace(directory / WEIGHTS)
