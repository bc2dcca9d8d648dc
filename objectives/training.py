"""The training loop of the built-in tasks, from top to bottom, with everything that must survive a kill.

What differs between tasks comes in as functions: the batches of an epoch, the losses of a batch, the metrics of
what the network gave. Knows nothing of samplers, pruners or processes, and trains on one device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from hpo.trial import Pruned, Trial
from objectives.micro_batches import Batch, MicroBatches, Result, Split, rows
from objectives.random_state import random_state, set_random_state
from objectives.recording import Arrays, Pass, write_epochs, write_steps, write_weights

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# The learning rate of an epoch as a part of the full one, from how much of the training after the warm-up is done,
# 0 to below 1: a function of the epoch alone, so that there is no state to lose. plateau lowers it by what is
# measured instead (`fit`). cosine: Loshchilov & Hutter, "SGDR", 2017, eq. 5.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "plateau": lambda done: 1.0,
}

ON_OUT_OF_MEMORY = ("prune", "accumulate")

Losses = Callable[[nn.Module, Batch], Result]
# From the outputs of a whole split and its name ("train", "val" or "test").
Metrics = Callable[[Mapping[str, Tensor], str], Mapping[str, Any]]


@dataclass(frozen=True)
class Settings:
    """How to train.

    monitor: the metric that says which epoch is best, larger being better if `maximize`.
    patience: epochs without a better one before training stops (None: never). weight_decay: of AdamW.
    schedule: of the learning rate over the epochs, one of SCHEDULES; "plateau" multiplies it by `plateau_factor`
    after each `plateau_patience` epochs without a better one. warmup_epochs: the first epochs, in which the rate
    rises linearly to the full one. clip_norm: the gradient's largest norm (None: as it comes). precision: of the
    forward pass, one of PRECISIONS, or "auto": bfloat16 on a GPU that has it, else float32. checkpoint_every: epochs
    between two saved states. compile: run the model through torch.compile. settle_batches: training batches from
    which batch normalisation takes its statistics anew before each validation (0: the running averages).
    on_out_of_memory: "prune" ends the trial, "accumulate" does the batch again in parts (`MicroBatches`).

    Raises ValueError for what is out of its range."""

    learning_rate: float
    monitor: str
    maximize: bool
    epochs: int
    patience: int | None = None
    weight_decay: float = 0.01
    schedule: str = "constant"
    warmup_epochs: int = 0
    plateau_factor: float = 0.5
    plateau_patience: int = 3
    clip_norm: float | None = None
    precision: str = "auto"
    checkpoint_every: int = 1
    compile: bool = False
    settle_batches: int = 0
    on_out_of_memory: str = "prune"

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}; expected {', '.join(SCHEDULES)}")
        if self.precision != "auto" and self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}; expected auto, {', '.join(PRECISIONS)}")
        if self.on_out_of_memory not in ON_OUT_OF_MEMORY:
            raise ValueError(f"on_out_of_memory is {self.on_out_of_memory!r}; expected {', '.join(ON_OUT_OF_MEMORY)}")
        for name, least in (("epochs", 1), ("warmup_epochs", 0), ("plateau_patience", 1), ("checkpoint_every", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}; expected a whole number of at least {least}")
        if not 0 < self.plateau_factor < 1:
            raise ValueError(f"plateau_factor is {self.plateau_factor!r}; expected a number between 0 and 1")

    def rate(self, epoch: int, lowered: float = 1.0) -> float:
        """The learning rate of `epoch`, counted from 1; `lowered`: the part that plateaus have left of it.

        A warm-up of w epochs takes w + 1 equal steps: with two, the rate is at a third, at two thirds, and full."""
        if epoch <= self.warmup_epochs:
            return self.learning_rate * epoch / (self.warmup_epochs + 1)
        done = (epoch - 1 - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return self.learning_rate * SCHEDULES[self.schedule](done) * lowered


@dataclass(frozen=True)
class Frozen:
    """Modules that do not train at first, the statistics of their batch normalisation included.

    joining: from `epoch` on (None: never) they train at `factor` times the rate (progressive unfreezing: Howard &
    Ruder, "Universal Language Model Fine-tuning", 2018, section 3.3, with two stages). staying: they never train."""

    staying: Sequence[nn.Module]
    joining: Sequence[nn.Module]
    epoch: int | None
    factor: float = 0.1

    def apply(self, epoch: int) -> None:
        """Freeze what is frozen in `epoch`; after `model.train()`, which thaws it."""
        joined = self.epoch is not None and epoch >= self.epoch
        for module in self.joining:
            module.requires_grad_(joined)
        for module in (*self.staying, *(() if joined else self.joining)):
            module.requires_grad_(False).eval()


# What a task need not decide: the settings that have a default, for the defaults of its own options.
LOOP_DEFAULTS: dict[str, Any] = {
    field.name: field.default for field in fields(Settings) if field.default is not MISSING
}


def settings_in(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `options` that are settings of the loop, to be handed to `Settings`."""
    return {field.name: options[field.name] for field in fields(Settings) if field.name in options}


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


def draws(seed: int, epoch: int) -> torch.Generator:
    """What an epoch's augmentation draws from: by seed and epoch alone, as the order of `shuffled`."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def fit(
    trial: Trial,
    model: nn.Module,
    settings: Settings,
    batches: Callable[[int], Iterable[Batch]],
    validation: Callable[[], Iterable[Batch]],
    losses: Losses,
    metrics: Metrics,
    criterion: nn.Module | None = None,
    frozen: Frozen | None = None,
    split: Split = rows,
) -> dict[str, float]:
    """Train `model`, which is on its device already, and return the metrics of its best epoch, to which come
    best_epoch, epochs (trained) and training_seconds (of training and validation).

    batches(epoch), validation(): what an epoch trains on and is measured on. losses(model, batch): scalars, of which
    `loss` is minimised and the others are components, recorded as they are; and outputs, maybe none.
    metrics(outputs, split): of a whole split, where there are outputs; a float is a metric, an array (of one shape in
    all epochs) is kept. criterion: a loss that has a state or parameters of its own, which train with the model's.
    split(batch, parts): a batch in parts, where it is to be accumulated and its tensors have not all a row a sample.

    Each epoch, counted from 1, is reported with the losses' means over samples and the metrics, as `train_<name>` and
    `val_<name>`; train_samples and val_samples; learning_rate, gradient_norm (the mean over steps, before clipping),
    epoch_seconds, samples_per_second (of training) and, on a GPU, peak_gpu_mib; with on_out_of_memory "accumulate"
    micro_batch and val_micro_batch, the most samples that go through the network at once. What else is kept:
    `objectives.recording`.
    A repeated attempt goes on where the one before it last saved, on a CPU to bitwise the same numbers.
    Raises Pruned when the loss is no longer finite. What says that memory is out is raised as it comes, by
    "accumulate" once nothing smaller is left to try."""
    device = next(model.parameters()).device
    precision = _precision(settings.precision, device)
    autocast = torch.autocast(device.type, precision, enabled=precision != torch.float32)
    criterion = (criterion if criterion is not None else nn.Module()).to(device)
    groups = _groups(model, criterion, frozen)
    optimizer = torch.optim.AdamW(groups, settings.learning_rate, weight_decay=settings.weight_decay)
    # Gradients of float16 underflow unless the loss is scaled up; bfloat16 has the range of float32.
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    network = torch.compile(model) if settings.compile else model
    accumulates = settings.on_out_of_memory == "accumulate"
    fitting = MicroBatches((model, criterion), accumulates, split)
    val_fitting = MicroBatches((model, criterion), accumulates, split)

    def measured(part: Batch, share: float) -> Result:
        return losses(network, part)

    def differentiated(part: Batch, share: float) -> Result:
        with autocast:
            scalars, outputs = losses(network, part)
        # The loss of the whole is the mean over samples.
        scaler.scale(share * scalars["loss"]).backward()
        return scalars, outputs

    epoch, best_epoch, elapsed = 0, 0, 0.0
    lowered, lowered_at = 1.0, settings.warmup_epochs  # by plateaus: what is left of the rate, and the last time
    written = 0  # the epoch whose weights are on disk
    reported: dict[str, float] = {}
    best: dict[str, Any] = {}
    kept: dict[str, list[Arrays]] = {"train": [], "val": [], "epochs": []}
    if (state := trial.restore()) is not None:
        epoch, best_epoch, elapsed = state["epoch"], state["best_epoch"], state["elapsed"]
        lowered, lowered_at = state["lowered"]
        reported, best, kept = state["reported"], state["best"], state["kept"]
        model.load_state_dict(state["model"])
        criterion.load_state_dict(state["criterion"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        fitting.limit, val_fitting.limit = state.get("micro_batches", (None, None))
        set_random_state(state["random"])
        del state  # it may lie on the GPU
        write_weights(trial.directory, best)
        written = best_epoch
        # The earlier attempt may have died between its save and its report.
        trial.report(epoch, **reported)

    while epoch < settings.epochs and not _out_of_patience(epoch, best_epoch, settings):
        epoch += 1
        rate = settings.rate(epoch, lowered)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        began = time.perf_counter()
        model.train()
        criterion.train()
        if frozen is not None:
            frozen.apply(epoch)
        training, norms = Pass(), []
        for batch in batches(epoch):
            scalars, outputs = fitting.run(batch, differentiated, optimizer.zero_grad)
            scaler.unscale_(optimizer)
            trained = _trained(optimizer)
            norms.append(get_total_norm([parameter.grad for parameter in trained]))
            if settings.clip_norm is not None:
                clip_grads_with_norm_(trained, settings.clip_norm, norms[-1])
            scaler.step(optimizer)
            scaler.update()
            training.add(scalars, outputs, len(batch[0]))
        if not training.samples:
            raise ValueError("an epoch has no training batch; expected at least one")
        steps = training.steps()
        stepped = time.perf_counter()
        found = _named("train", training.means(steps))
        _check_finite("train_loss", found["train_loss"], epoch)

        criterion.eval()
        with torch.no_grad(), autocast:
            settling = islice(batches(epoch), settings.settle_batches)
            settle(model, lambda batch: fitting.run(batch, measured), settling)
            model.eval()
            checked = _pass_over(validation(), lambda batch: val_fitting.run(batch, measured))
        val_steps = checked.steps()
        found |= _named("val", checked.means(val_steps))
        # Its last step may have ruined it; what the network gives is then nothing to measure.
        _check_finite("val_loss", found["val_loss"], epoch)
        for split, one in (("train", training), ("val", checked)):
            if outputs := one.outputs():
                found |= _named(split, metrics(outputs, split))
        ended = time.perf_counter()
        elapsed += ended - began
        kept["train"].append(steps | {
            "learning_rate": np.full(len(norms), rate), "gradient_norm": torch.stack(norms).double().cpu().numpy(),
        })  # fmt: skip
        kept["val"].append(val_steps)
        kept["epochs"].append({name: value for name, value in found.items() if isinstance(value, np.ndarray)})
        reported = {name: float(value) for name, value in found.items() if name not in kept["epochs"][-1]}
        reported |= {"learning_rate": rate, "gradient_norm": float(kept["train"][-1]["gradient_norm"].mean())}
        reported |= {"train_samples": float(training.samples), "val_samples": float(checked.samples)}
        reported |= {"epoch_seconds": ended - began, "samples_per_second": training.samples / (stepped - began)}
        if accumulates:
            reported |= {"micro_batch": float(min(fitting.limit or math.inf, training.largest))}
            reported |= {"val_micro_batch": float(min(val_fitting.limit or math.inf, checked.largest))}
        if device.type == "cuda":
            reported["peak_gpu_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
        value = reported[settings.monitor]
        if not best or _better(value, best["metrics"][settings.monitor], settings.maximize):
            best_epoch = epoch
            best = {"epoch": epoch, "metrics": reported, "model": _copy(model.state_dict())}
        if settings.schedule == "plateau" and epoch - max(best_epoch, lowered_at) >= settings.plateau_patience:
            lowered, lowered_at = lowered * settings.plateau_factor, epoch

        last = epoch == settings.epochs or _out_of_patience(epoch, best_epoch, settings)
        if last or epoch % settings.checkpoint_every == 0:
            trial.save({
                "epoch": epoch,
                "best_epoch": best_epoch,
                "elapsed": elapsed,
                "lowered": (lowered, lowered_at),
                "reported": reported,
                "best": best,
                "kept": kept,
                "model": model.state_dict(),
                "criterion": criterion.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scaler": scaler.state_dict(),
                "micro_batches": (fitting.limit, val_fitting.limit),
                "random": random_state(),  # dropout draws from it
            })  # fmt: skip
            write_steps(trial.directory, kept["train"], kept["val"])
            write_epochs(trial.directory, kept["epochs"])
            if written < best_epoch:
                write_weights(trial.directory, best)
                written = best_epoch
        trial.report(epoch, **reported)
    return best["metrics"] | {"best_epoch": best_epoch, "epochs": epoch, "training_seconds": elapsed}


def score(network: nn.Module, batches: Iterable[Batch], losses: Losses, metrics: Metrics) -> dict[str, float]:
    """The losses' means over samples and the metrics of the "test" split, names as they are, arrays left out."""
    network.eval()
    with torch.no_grad():
        checked = _pass_over(batches, lambda batch: losses(network, batch))
    found = dict(checked.means(checked.steps()))
    if outputs := checked.outputs():
        found |= metrics(outputs, "test")
    return {name: float(value) for name, value in found.items() if not isinstance(value, np.ndarray)}


def settle(model: nn.Module, forward: Callable[[Any], object], batches: Iterable[Any]) -> None:
    """Give batch normalisation the mean statistics of `batches` under the weights as they are now.

    Its running averages are of weights that have moved on since: while the learning rate is high, or an epoch has
    few steps, validation would swing with them and a pruner with it. Source: Wu & Johnson, "Rethinking 'Batch' in
    BatchNorm", 2021, section 3 ("PreciseBN"). Without batches nothing changes; what trains is never touched, nor what
    is frozen."""
    kind = nn.modules.batchnorm._BatchNorm
    layers = [module for module in model.modules() if isinstance(module, kind) and module.training]
    momenta = [layer.momentum for layer in layers]
    for index, batch in enumerate(batches if layers else ()):
        if index == 0:
            for layer in layers:
                layer.reset_running_stats()
                layer.momentum = None  # torch: the plain mean over batches
        forward(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _pass_over(batches: Iterable[Batch], forward: Callable[[Batch], Result]) -> Pass:
    seen = Pass()
    for batch in batches:
        scalars, outputs = forward(batch)
        seen.add(scalars, outputs, len(batch[0]))
    if not seen.samples:
        raise ValueError("there is no batch to measure on; expected at least one")
    return seen


def _check_finite(name: str, loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise Pruned(f"{name} is {loss} in epoch {epoch}: the training diverged")


def _named(split: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{split}_{name}": value for name, value in found.items()}


def _groups(model: nn.Module, criterion: nn.Module, frozen: Frozen | None) -> list[dict[str, Any]]:
    """What the optimizer trains, each group with its part of the rate; a loss's own parameters do not decay."""
    joining = [parameter for module in (frozen.joining if frozen else ()) for parameter in module.parameters()]
    staying = [parameter for module in (frozen.staying if frozen else ()) for parameter in module.parameters()]
    late = {id(parameter) for parameter in (*joining, *staying)}
    groups = [
        {"params": [parameter for parameter in model.parameters() if id(parameter) not in late], "factor": 1.0},
        {"params": joining, "factor": frozen.factor if frozen else 1.0},
        {"params": list(criterion.parameters()), "factor": 1.0, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _trained(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def _precision(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return PRECISIONS[name]


def _better(value: float, than: float, maximize: bool) -> bool:
    """NaN is never better, and anything is better than NaN."""
    if math.isnan(value) or math.isnan(than):
        return math.isnan(than) and not math.isnan(value)
    return value > than if maximize else value < than


def _out_of_patience(epoch: int, best_epoch: int, settings: Settings) -> bool:
    return settings.patience is not None and epoch - best_epoch >= settings.patience


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
