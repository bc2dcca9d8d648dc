"""The training loop of the built-in tasks, with everything that must survive a kill.

`fit` reads from top to bottom: `train_epoch`, `validate`, `save`, until the last epoch. What differs between tasks
comes in as a `Problem`. The loop trains on one device and knows nothing of samplers, pruners or processes.
docs/tasks/training.md lists the metrics that are reported, and `objectives.recording` the files that are written.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from io import BytesIO
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from hpo.trial import Pruned, Trial
from objectives.micro_batches import Batch, MicroBatches, Result, Split, rows
from objectives.random_state import random_state, set_random_state
from objectives.recording import Arrays, Pass, write_epochs, write_steps, write_weights

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# The factor of the learning rate in an epoch, from the part of the training after the warm-up that is done, 0 to
# below 1. It is a function of the epoch alone, so that there is no state to lose. A plateau lowers the rate by what is
# measured instead (`Progress.compare`). cosine: Loshchilov & Hutter, "SGDR", 2017, eq. 5.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "plateau": lambda done: 1.0,
}

ON_OUT_OF_MEMORY = ("prune", "accumulate")

Network = TypeVar("Network", bound=nn.Module)
Losses = Callable[[nn.Module, Batch], Result]
# Metrics of the outputs of a whole split, which is named "train", "val" or "test".
Metrics = Callable[[Mapping[str, Tensor], str], Mapping[str, Any]]


@dataclass(frozen=True)
class Settings:
    """Settings of the training loop.

    Attributes:
        learning_rate: The full rate of AdamW.
        monitor: The metric that says which epoch is best.
        maximize: True if a larger value of `monitor` is better.
        epochs: The most epochs to train.
        patience: Epochs without a better one before training stops; None: never.
        weight_decay: The weight decay of AdamW.
        schedule: The learning rate over the epochs, one of SCHEDULES; "plateau" multiplies it by `plateau_factor`
            after each `plateau_patience` epochs without a better one.
        warmup_epochs: The first epochs, in which the rate rises linearly to the full one.
        plateau_factor: See `schedule`.
        plateau_patience: See `schedule`.
        clip_norm: The largest norm of the gradient; None: no limit.
        precision: The type of the forward pass, one of PRECISIONS, or "auto": bfloat16 on a GPU that has it, else
            float32.
        checkpoint_every: Epochs between two saved states.
        compile: Run the model through torch.compile.
        settle_batches: Training batches from which batch normalisation takes its statistics anew before each
            validation; 0: it keeps the running averages.
        on_out_of_memory: "prune" ends the trial, "accumulate" does the batch again in parts (`MicroBatches`).

    Raises:
        ValueError: A value is out of its range.
    """

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
        """Return the learning rate of an epoch.

        A warm-up of w epochs takes w + 1 equal steps: with two, the rate is at a third, at two thirds, and full.

        Args:
            epoch: Counted from 1.
            lowered: The part of the rate that plateaus have left, 0 to 1.
        """
        if epoch <= self.warmup_epochs:
            return self.learning_rate * epoch / (self.warmup_epochs + 1)
        done = (epoch - 1 - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return self.learning_rate * SCHEDULES[self.schedule](done) * lowered


@dataclass(frozen=True)
class Frozen:
    """Modules that do not train at first, the statistics of their batch normalisation included.

    This is progressive unfreezing with two stages: Howard & Ruder, "Universal Language Model Fine-tuning", 2018,
    section 3.3.

    Attributes:
        staying: Modules that never train.
        joining: Modules that train from `epoch` on.
        epoch: The first epoch in which `joining` trains, counted from 1; None: never.
        factor: The part of the learning rate at which `joining` trains.
    """

    staying: Sequence[nn.Module]
    joining: Sequence[nn.Module]
    epoch: int | None
    factor: float = 0.1

    def apply(self, epoch: int) -> None:
        """Freeze what is frozen in `epoch`. Call it after `model.train()`, which thaws everything."""
        joined = self.epoch is not None and epoch >= self.epoch
        for module in self.joining:
            module.requires_grad_(joined)
        for module in (*self.staying, *(() if joined else self.joining)):
            module.requires_grad_(False).eval()


@dataclass(frozen=True)
class Problem:
    """The data, losses and metrics that a task gives to the training loop.

    Attributes:
        batches: Returns the training batches of an epoch, counted from 1.
        validation: Returns the batches that an epoch is measured on.
        losses: Returns the losses and the outputs of a batch. `loss`, a scalar, is minimised; the other scalars are
            its components, which are recorded. Outputs may be empty.
        metrics: Returns the metrics of a split from all its outputs. A float is a metric; an array, of one shape in
            all epochs, is kept.
        criterion: A loss that has a state or parameters of its own, which train with the model's.
        frozen: Modules that do not train from the first epoch on.
        split: Divides a batch that does not fit into memory; needed where not all its tensors have a row a sample.
        beside_weights: What else is kept with the weights: numbers, text, tensors, and lists and mappings of them.
    """

    batches: Callable[[int], Iterable[Batch]]
    validation: Callable[[], Iterable[Batch]]
    losses: Losses
    metrics: Metrics
    criterion: nn.Module | None = None
    frozen: Frozen | None = None
    split: Split = rows
    beside_weights: Mapping[str, Any] = field(default_factory=dict)


# The settings that have a default, for the defaults of a task's own options.
LOOP_DEFAULTS: dict[str, Any] = {
    field.name: field.default for field in fields(Settings) if field.default is not MISSING
}


def settings_in(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `options` that are arguments of `Settings`."""
    return {field.name: options[field.name] for field in fields(Settings) if field.name in options}


def pick_device() -> torch.device:
    """Return the GPU that this worker was given, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_device(tensors: Iterable[Tensor], device: torch.device, share: float = 0.5) -> list[Tensor]:
    """Move tensors to a device if they take at most `share` of its free memory, else to pinned host memory.

    From pinned memory a batch reaches the device while that computes.
    """
    kept = list(tensors)
    if device.type != "cuda":
        return kept
    free, _ = torch.cuda.mem_get_info(device)
    if sum(tensor.nbytes for tensor in kept) <= share * free:
        return [tensor.to(device) for tensor in kept]
    return [tensor.pin_memory() for tensor in kept]


def shuffled(n: int, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Return the indices 0 to n - 1 in batches, in an order that depends on seed and epoch alone.

    So an epoch that is trained again after a kill sees the same batches.
    """
    order = np.random.default_rng([seed, epoch]).permutation(n)
    yield from torch.from_numpy(order).split(batch_size)  # type: ignore[no-untyped-call]


def draws(seed: int, epoch: int) -> torch.Generator:
    """Return the generator of an epoch's augmentation, which depends on seed and epoch alone, as in `shuffled`."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def channels_last(model: Network) -> Network:
    """Lay out a network's weights with channels last, which is faster for 2-D convolutions; return the network."""
    # The type stubs of torch do not know this argument.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def fit(trial: Trial, model: nn.Module, settings: Settings, problem: Problem) -> dict[str, float]:
    """Train a network and return the metrics of its best epoch.

    A repeated attempt continues from the last saved state, on a CPU to bitwise the same numbers.

    Args:
        trial: Takes the reports and the saved states.
        model: The network, on its device already.
        settings: How to train.
        problem: What to train on, and how to measure it.

    Returns:
        The metrics of the best epoch with `best_epoch`, `epochs` (trained), `training_seconds` (of training and
        validation) and `n_parameters` (of the network, trained or frozen).

    Raises:
        Pruned: The loss is no longer finite.
        ValueError: There is no batch to train on or to measure on.
    """
    training = Training(model, settings, problem)
    progress = restore(trial, training)
    while not progress.finished(settings):
        progress.epoch += 1
        training.set_rate(progress)
        began = time.perf_counter()
        trained, norms = train_epoch(training, progress.epoch)
        stepped = time.perf_counter()
        validated = validate(training, progress.epoch)
        found = measure(training, trained, validated, norms)
        ended = time.perf_counter()
        progress.elapsed += ended - began
        found |= {"epoch_seconds": ended - began, "samples_per_second": trained.samples / (stepped - began)}
        steps = {"learning_rate": np.full(len(norms), training.rate), "gradient_norm": norms}
        progress.record(trained.steps | steps, validated.steps, found)
        progress.compare(model, settings)
        if progress.finished(settings) or progress.epoch % settings.checkpoint_every == 0:
            save(trial, training, progress)
        trial.report(progress.epoch, **progress.reported)
    counts = {"best_epoch": progress.best_epoch, "epochs": progress.epoch, "training_seconds": progress.elapsed}
    counts["n_parameters"] = sum(parameter.numel() for parameter in model.parameters())
    return {**progress.best["metrics"], **counts}


def train_epoch(training: Training, epoch: int) -> tuple[Pass, NDArray[np.float64]]:
    """Train on the batches of one epoch.

    Returns:
        The losses and outputs of the epoch, and the gradient norm of each step before clipping, (steps,).

    Raises:
        Pruned: The mean loss is not finite.
        ValueError: The epoch has no batch.
    """
    training.model.train()
    training.criterion.train()
    if training.problem.frozen is not None:
        training.problem.frozen.apply(epoch)
    trained, norms = Pass(), []
    for batch in training.problem.batches(epoch):
        scalars, outputs = training.fitting.run(batch, training.differentiate, training.optimizer.zero_grad)
        norms.append(training.step())
        trained.add(scalars, outputs, len(batch[0]))
    if not trained.samples:
        raise ValueError("an epoch has no training batch; expected at least one")
    _check_finite("train_loss", trained.means()["loss"], epoch)
    return trained, torch.stack(norms).double().cpu().numpy()


def validate(training: Training, epoch: int) -> Pass:
    """Measure the network on the validation batches, after batch normalisation has settled (`settle`).

    Raises:
        Pruned: The mean loss is not finite.
        ValueError: There is no validation batch.
    """
    training.criterion.eval()
    with torch.no_grad(), training.autocast:
        settling = islice(training.problem.batches(epoch), training.settings.settle_batches)
        settle(training.model, lambda batch: training.fitting.run(batch, training.forward), settling)
        training.model.eval()
        validated = _pass_over(
            training.problem.validation(), lambda batch: training.val_fitting.run(batch, training.forward)
        )
    # The last step of the epoch may have ruined the network. Its outputs are then not worth measuring.
    _check_finite("val_loss", validated.means()["loss"], epoch)
    return validated


def measure(training: Training, trained: Pass, validated: Pass, norms: NDArray[np.float64]) -> dict[str, Any]:
    """Return the losses and metrics of both splits, and the numbers of the epoch, by the names they are reported under.

    A metric may be an array.
    """
    passes = {"train": trained, "val": validated}
    found: dict[str, Any] = {}
    for split, one in passes.items():
        found |= _named(split, one.means())
    for split, one in passes.items():
        if outputs := one.outputs():
            found |= _named(split, training.problem.metrics(outputs, split))
    found |= {"learning_rate": training.rate, "gradient_norm": float(norms.mean())}
    found |= {f"{split}_samples": float(one.samples) for split, one in passes.items()}
    if training.accumulates:
        found["micro_batch"] = float(min(training.fitting.limit or math.inf, trained.largest))
        found["val_micro_batch"] = float(min(training.val_fitting.limit or math.inf, validated.largest))
    if training.device.type == "cuda":
        found["peak_gpu_mib"] = torch.cuda.max_memory_allocated(training.device) / 2**20
    return found


def save(trial: Trial, training: Training, progress: Progress) -> None:
    """Save all that is needed to continue, and write what is kept for the reader (`objectives.recording`)."""
    state = {
        "epoch": progress.epoch,
        "best_epoch": progress.best_epoch,
        "elapsed": progress.elapsed,
        "lowered": (progress.lowered, progress.lowered_at),
        "reported": progress.reported,
        "best": progress.best,
        "kept": _each_array(_tensor, progress.kept),
        "model": training.model.state_dict(),
        "criterion": training.criterion.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "scaler": training.scaler.state_dict(),
        "micro_batches": (training.fitting.limit, training.val_fitting.limit),
        "random": random_state(),  # dropout draws from it
    }
    # As bytes that torch can read without running code, so that the state is restored whoever may write the file.
    buffer = BytesIO()
    torch.save(state, buffer)
    trial.save(buffer.getvalue())
    write_steps(trial.directory, progress.kept["train"], progress.kept["val"])
    write_epochs(trial.directory, progress.kept["epochs"])
    if progress.written < progress.best_epoch:
        write_weights(trial.directory, {**progress.best, **training.problem.beside_weights})
        progress.written = progress.best_epoch


def restore(trial: Trial, training: Training) -> Progress:
    """Load the state that was saved last, and report its epoch again; without one, begin anew.

    The settings stay those of this training: as a member of a population it may go on with others.
    """
    if (saved := trial.restore()) is None:
        return Progress(lowered_at=training.settings.warmup_epochs)
    state = _loaded(saved)
    decays = [group["weight_decay"] for group in training.optimizer.param_groups]
    for name in ("model", "criterion", "optimizer", "scaler"):
        getattr(training, name).load_state_dict(state[name])
    # The optimizer's state holds the earlier settings; the rate is set in each epoch (`set_rate`).
    for group, decay in zip(training.optimizer.param_groups, decays, strict=True):
        group["weight_decay"] = decay
    # States of earlier versions have no limits.
    training.fitting.limit, training.val_fitting.limit = state.get("micro_batches", (None, None))
    set_random_state(state["random"])
    lowered, lowered_at = state["lowered"]
    names = ("epoch", "best_epoch", "elapsed", "reported", "best", "kept")
    progress = Progress(lowered=lowered, lowered_at=lowered_at, **{name: state[name] for name in names})
    write_weights(trial.directory, {**progress.best, **training.problem.beside_weights})
    progress.written = progress.best_epoch
    # The earlier attempt may have died between its save and its report.
    trial.report(progress.epoch, **progress.reported)
    return progress


def _loaded(saved: Any) -> dict[str, Any]:
    """Return the state that `save` kept; earlier versions kept it as it is."""
    if not isinstance(saved, bytes):
        return dict(saved)
    state: dict[str, Any] = torch.load(BytesIO(saved), map_location="cpu", weights_only=True)
    return state | {"kept": _each_array(Tensor.numpy, state["kept"])}


def _tensor(array: NDArray[Any]) -> Tensor:
    copy: Tensor = torch.from_numpy(np.array(array, order="C"))  # torch takes no negative strides
    return copy


def _each_array(convert: Callable[[Any], Any], kept: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the arrays of each epoch, converted."""
    return {key: [{name: convert(a) for name, a in epoch.items()} for epoch in epochs] for key, epochs in kept.items()}


class Training:
    """The parts of one training: network, loss, optimizer with its rate, scaler of gradients, and limits of memory."""

    def __init__(self, model: nn.Module, settings: Settings, problem: Problem) -> None:
        self.rate = settings.learning_rate
        self.model, self.settings, self.problem = model, settings, problem
        self.device = next(model.parameters()).device
        precision = _precision(settings.precision, self.device)
        self.autocast = torch.autocast(self.device.type, precision, enabled=precision != torch.float32)
        self.criterion = (problem.criterion if problem.criterion is not None else nn.Module()).to(self.device)
        groups = _groups(model, self.criterion, problem.frozen)
        self.optimizer = torch.optim.AdamW(groups, settings.learning_rate, weight_decay=settings.weight_decay)
        # Gradients of float16 underflow unless the loss is scaled up; bfloat16 has the range of float32.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == torch.float16)
        network: Any = torch.compile(model) if settings.compile else model
        self.network: nn.Module = network
        self.accumulates = settings.on_out_of_memory == "accumulate"
        self.fitting = MicroBatches((model, self.criterion), self.accumulates, problem.split)
        self.val_fitting = MicroBatches((model, self.criterion), self.accumulates, problem.split)

    def set_rate(self, progress: Progress) -> None:
        """Give the optimizer the learning rate of the epoch."""
        self.rate = self.settings.rate(progress.epoch, progress.lowered)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group["factor"]

    def forward(self, part: Batch, share: float) -> Result:
        """Return the losses and outputs of a part of a batch."""
        return self.problem.losses(self.network, part)

    def differentiate(self, part: Batch, share: float) -> Result:
        """Add the gradients of a part that has this share of its batch's samples; return its losses and outputs."""
        with self.autocast:
            scalars, outputs = self.problem.losses(self.network, part)
        # The loss of the whole batch is the mean over samples.
        self.scaler.scale(share * scalars["loss"]).backward()  # type: ignore[no-untyped-call]
        return scalars, outputs

    def step(self) -> Tensor:
        """Take a step of the optimizer, and return the norm of the gradient before clipping, 0-d."""
        self.scaler.unscale_(self.optimizer)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = get_total_norm([parameter.grad for parameter in parameters])
        if self.settings.clip_norm is not None:
            clip_grads_with_norm_(parameters, self.settings.clip_norm, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm


@dataclass
class Progress:
    """The numbers of a training that change from epoch to epoch, and are saved with it.

    Attributes:
        epoch: The last epoch that was trained, counted from 1.
        best_epoch: The epoch with the best value of the monitored metric.
        elapsed: Seconds of training and validation so far.
        lowered: What plateaus have left of the learning rate, from 0 to 1.
        lowered_at: The epoch in which a plateau last lowered the rate.
        written: The epoch whose weights are on disk.
        reported: The metrics of the last epoch.
        best: `epoch`, `metrics` and `model` (a state_dict) of the best epoch.
        kept: Arrays of each epoch: its steps ("train", "val"), and what the metrics gave ("epochs").
    """

    epoch: int = 0
    best_epoch: int = 0
    elapsed: float = 0.0
    lowered: float = 1.0
    lowered_at: int = 0
    written: int = 0
    reported: dict[str, float] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, list[Arrays]] = field(default_factory=lambda: {"train": [], "val": [], "epochs": []})

    def finished(self, settings: Settings) -> bool:
        """Return True after the last epoch, or when patience has run out."""
        impatient = settings.patience is not None and self.epoch - self.best_epoch >= settings.patience
        return self.epoch >= settings.epochs or impatient

    def record(self, steps: Arrays, val_steps: Arrays, found: Mapping[str, Any]) -> None:
        """Keep the steps of an epoch; of what was `found`, keep the arrays and report the numbers."""
        arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
        for name, one in (("train", steps), ("val", val_steps), ("epochs", arrays)):
            self.kept[name].append(one)
        self.reported = {name: float(value) for name, value in found.items() if name not in arrays}

    def compare(self, model: nn.Module, settings: Settings) -> None:
        """Keep the weights if this epoch is the best so far; lower the learning rate if it is at a plateau."""
        value = self.reported[settings.monitor]
        if not self.best or _better(value, self.best["metrics"][settings.monitor], settings.maximize):
            self.best_epoch = self.epoch
            self.best = {"epoch": self.epoch, "metrics": self.reported, "model": _copy(model.state_dict())}
        waited = self.epoch - max(self.best_epoch, self.lowered_at)
        if settings.schedule == "plateau" and waited >= settings.plateau_patience:
            self.lowered, self.lowered_at = self.lowered * settings.plateau_factor, self.epoch


def score(
    network: nn.Module,
    batches: Iterable[Batch],
    losses: Losses,
    metrics: Metrics,
    predictions: Callable[[Mapping[str, Tensor]], Mapping[str, Any]] = lambda outputs: {},
) -> dict[str, Any]:
    """Return the losses' means over samples and the metrics of the "test" split, by their own names, without arrays.

    What `predictions` makes of all outputs is added as it is.

    Raises:
        ValueError: There is no batch.
    """
    network.eval()
    with torch.no_grad():
        checked = _pass_over(batches, lambda batch: losses(network, batch))
    found: dict[str, Any] = dict(checked.means())
    outputs = checked.outputs()
    if outputs:
        found |= metrics(outputs, "test")
    numbers = {name: float(value) for name, value in found.items() if not isinstance(value, np.ndarray)}
    return {**numbers, **predictions(outputs)}


def settle(model: nn.Module, forward: Callable[[Any], object], batches: Iterable[Any]) -> None:
    """Give batch normalisation the mean statistics of some batches under the present weights.

    Its running averages are of weights that have moved on since: while the learning rate is high, or an epoch has
    few steps, validation would swing with them, and a pruner with it. Without batches nothing changes; neither
    trained nor frozen parameters are ever touched.

    Source: Wu & Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3 ("PreciseBN").

    Args:
        model: The network, in training mode.
        forward: Runs the network on one batch.
        batches: Training batches.
    """
    kind = nn.modules.batchnorm._BatchNorm
    layers = [module for module in model.modules() if isinstance(module, kind) and module.training]
    momenta = [layer.momentum for layer in layers]
    for index, batch in enumerate(batches if layers else ()):
        if index == 0:
            for layer in layers:
                layer.reset_running_stats()
                layer.momentum = None  # For torch this is the plain mean over batches.
        forward(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _pass_over(batches: Iterable[Batch], forward: Callable[[Batch], Result]) -> Pass:
    found = Pass()
    for batch in batches:
        scalars, outputs = forward(batch)
        found.add(scalars, outputs, len(batch[0]))
    if not found.samples:
        raise ValueError("there is no batch to measure on; expected at least one")
    return found


def _check_finite(name: str, loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise Pruned(f"{name} is {loss} in epoch {epoch}: the training diverged")


def _named(split: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{split}_{name}": value for name, value in found.items()}


def _groups(model: nn.Module, criterion: nn.Module, frozen: Frozen | None) -> list[dict[str, Any]]:
    """Parameter groups of the optimizer, each with its factor of the rate; a loss's own parameters do not decay."""
    joining = [parameter for module in (frozen.joining if frozen else ()) for parameter in module.parameters()]
    staying = [parameter for module in (frozen.staying if frozen else ()) for parameter in module.parameters()]
    late = {id(parameter) for parameter in (*joining, *staying)}
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in model.parameters() if id(parameter) not in late], "factor": 1.0},
        {"params": joining, "factor": frozen.factor if frozen else 1.0},
        {"params": list(criterion.parameters()), "factor": 1.0, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _precision(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return PRECISIONS[name]


def _better(value: float, than: float, maximize: bool) -> bool:
    """Compare two values of a metric: NaN is never better, and anything is better than NaN."""
    if math.isnan(value) or math.isnan(than):
        return math.isnan(than) and not math.isnan(value)
    return value > than if maximize else value < than


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
