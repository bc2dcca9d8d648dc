"""Samples per second that the three U-Nets train: float32 and bfloat16, eager and compiled.

One training step is what `objectives.training.fit` does: forward under autocast, loss, backward, AdamW. The variants
take turns, so that a noisy machine is noisy to all; printed are medians over the rounds. On a GPU the published
width and patch; on a CPU give a small one: --width 8 --patch 128."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from objectives.mitochondria import models
from objectives.mitochondria.objective import loss_of
from objectives.training import PRECISIONS, pick_device

VARIANTS = [(precision, compiled) for precision in ("float32", "bfloat16") for compiled in (False, True)]


def trainer(
    architecture: str, width: int, precision: str, compiled: bool, images: Tensor, masks: Tensor
) -> Callable[[], None]:
    """A function that trains one step."""
    torch.manual_seed(0)
    model = models.build(architecture, width).to(images.device, memory_format=torch.channels_last)
    network = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    dtype = PRECISIONS[precision]

    def step() -> None:
        with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
            loss = loss_of({"loss": "bce_dice"}, network(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds_of(step: Callable[[], None], steps: int, device: torch.device) -> float:
    """Of one step, the mean of `steps`; the device is waited for."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return (time.perf_counter() - began) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("width", 64), ("patch", 256), ("batch", 16), ("steps", 10), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out")
    given = parser.parse_args()
    device = pick_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}; width {given.width}, batches of {given.batch} patches of {given.patch} x {given.patch}")
    images = torch.randn(given.batch, 1, given.patch, given.patch, device=device)
    masks = (torch.rand_like(images) < 0.06).float()
    variants = [variant for variant in VARIANTS if not (given.eager and variant[1])]
    for architecture in models.ARCHITECTURES:
        steps = {variant: trainer(architecture, given.width, *variant, images, masks) for variant in variants}
        for step in steps.values():  # compiles, chooses kernels, makes the optimizer's state
            seconds_of(step, 3, device)
        taken: dict[tuple[str, bool], list[float]] = {variant: [] for variant in variants}
        for _ in range(given.rounds):
            for variant, step in steps.items():
                taken[variant].append(seconds_of(step, given.steps, device))
        reference = statistics.median(taken[variants[0]])
        for (precision, compiled), times in taken.items():
            median = statistics.median(times)
            kind = "compiled" if compiled else "eager"
            rate, ratio = given.batch / median, reference / median
            print(f"{architecture:18} {precision:9} {kind:9} {rate:10.1f} samples/s  {ratio:5.2f} x float32 eager")


if __name__ == "__main__":
    main()
