"""Samples a second of one training step of the loop, and what each way of doing it gains.

A step is that of `objectives.training`: batch, augmentation, forward, loss, backward, norm of the gradient, optimizer.
The ways differ in one thing each from the default on a GPU (bfloat16, eager, data on the device, AdamW's default):

    default      as studies train with `precision: auto`
    float32      precision: float32, with torch's default of TF32 in convolutions
    fused        AdamW(fused=True)
    host         the data in pinned memory of the host, where they go if the device is too full
    same batch   one batch over and over: what is left without making batches
    compiled     compile: true (torch.compile of the network)

All ways of a network take turns, round after round; figures are medians over rounds, after a warm-up that is not
timed. What torch.compile takes at the start is its own figure.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from unittest import mock

import torch

from benchmarks.gpu_parts.box import Box
from benchmarks.gpu_parts.tasks import Case, rows_of
from hpo import is_out_of_memory
from objectives.training import Training

_ABR = {"data": {"records": 1500}}
_SOUNDS = {"data": {"clips": 128}}
_EYES = {"data": {"images": 400, "image_size": 128}}
_CELLS = {"data": {"slices": 8, "height": 512, "width": 512, "patch_size": 256}}
# Batches an epoch and epochs as in studies/abr.yaml, audio_angle.yaml, glaucoma.yaml and mitochondria.yaml.
CASES = (
    Case("U-Net 16", "mitochondria", {**_CELLS, "base_width": 16}, (21, 50)),
    Case("ABR small", "abr", {**_ABR, "architecture": "small"}, (469, 60)),
    Case("U-Net 64", "mitochondria", {**_CELLS, "base_width": 64}, (21, 50)),
    Case("resnet_small 16 (sounds)", "audio_angle", _SOUNDS, (30, 60)),
    Case("ABR full", "abr", {**_ABR, "architecture": "full"}, (469, 60)),
    Case("U-Net 8", "mitochondria", {**_CELLS, "base_width": 8}, (21, 50)),
    Case("ABR tiny", "abr", {**_ABR, "architecture": "tiny"}, (469, 60)),
    Case("resnet18 16 (photographs)", "glaucoma", {**_EYES, "base_width": 16}, (87, 15)),
)
TINY = (
    Case("U-Net 2", "mitochondria", {"base_width": 2, "batch_size": 2,
         "data": {"slices": 4, "height": 64, "width": 64, "patch_size": 32}}, (4, 2)),
    Case("ABR tiny", "abr", {"architecture": "tiny", "batch_size": 8, "data": {"records": 120}}, (4, 2)),
)  # fmt: skip
ROUNDS, ROUND_SECONDS, WARM_UP = 5, 0.3, 5
Step = Callable[[], int]  # trains one step, and returns its samples


def run(box: Box) -> None:
    """Measure all networks without torch.compile, then again with it as far as the time goes."""
    cases = TINY if box.dry else CASES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in cases:
            if box.fits(12, f"{case.name} without torch.compile"):
                measure(case, box, folder, ("default", "float32", "fused", "host", "same batch"))
        for case in cases:
            if box.fits(45, f"{case.name} compiled"):
                measure(case, box, folder, ("default", "compiled"))


def measure(case: Case, box: Box, folder: Path, ways: tuple[str, ...]) -> None:
    """Time these ways of a network against the first of them, and write a row for each."""
    steps: dict[str, Step] = {}
    first: dict[str, float] = {}
    for way in ways:
        began = time.perf_counter()
        try:
            steps[way] = step = step_of(way, case, box, folder)
            seconds(step, 1 if box.dry else WARM_UP, box)
        except Exception as error:  # whatever a way is refused for, the others go on
            steps.pop(way, None)
            why = "out of memory" if is_out_of_memory(error) else f"{type(error).__name__}: {error}".splitlines()[0]
            box.leave_out(f"{case.name}, {way}", why)
        first[way] = time.perf_counter() - began
    rates: dict[str, list[float]] = {way: [] for way in steps}
    enough = {way: 1 if box.dry else steps_in(step, box) for way, step in steps.items()}
    for _ in range(2 if box.dry else ROUNDS):
        for way, step in steps.items():
            samples, taken = seconds(step, enough[way], box)
            rates[way].append(samples / taken)
    for way, found in rates.items():
        ratios = [one / base for one, base in zip(found, rates.get(ways[0], found), strict=True)]
        box.add(
            network=case.name,
            way=way,
            samples_per_second=statistics.median(found),
            ratio=statistics.median(ratios),
            ratio_range=[min(ratios), max(ratios)],
            start_seconds=first[way],
            batch=steps[way](),
            epoch_batches=case.batches[0],
            epochs=case.batches[1],
        )
    if box.device.type == "cuda":
        steps.clear()
        torch.cuda.empty_cache()


def step_of(way: str, case: Case, box: Box, folder: Path) -> Step:
    """Return the function that trains one step this way."""
    precision = "float32" if way == "float32" else "bfloat16" if box.dry else "auto"
    make = partial(case.training, folder, box.device, precision=precision)
    if way == "compiled":
        # A dry run has dynamo trace the network, and compiles nothing.
        compiler = partial(torch.compile, backend="eager") if box.dry else torch.compile
        with mock.patch.object(torch, "compile", compiler):
            return over_batches(make(compile=True))
    if way == "graph":
        from benchmarks.gpu_parts.graphs import captured

        return captured(make(), box)
    training = make(fused=way == "fused", host=way == "host")
    if way == "same batch":
        return partial(rows_of, training, next(batches_of(training)))
    return over_batches(training)


def over_batches(training: Training) -> Step:
    """Return a step that takes batch after batch, as the loop does."""
    batches = batches_of(training)
    return lambda: rows_of(training, next(batches))


def batches_of(training: Training) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield the training batches of epoch after epoch."""
    for epoch in count(1):
        yield from training.problem.batches(epoch)


def seconds(step: Step, steps: int, box: Box) -> tuple[int, float]:
    """Return the samples of so many steps, and the seconds that they took; the device is waited for."""
    box.wait()
    began = time.perf_counter()
    samples = sum(step() for _ in range(steps))
    box.wait()
    return samples, time.perf_counter() - began


def steps_in(step: Step, box: Box) -> int:
    """Return how many steps a round takes."""
    _, taken = seconds(step, 2, box)
    return max(2, min(500, round(2 * ROUND_SECONDS / taken)))
