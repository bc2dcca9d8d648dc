"""Samples a second of a training step that is captured as a CUDA graph, against the same step without one.

Both train on one batch over and over, with `precision: auto`; the captured one with AdamW(capturable=True).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from benchmarks.gpu_parts.box import Box
from benchmarks.gpu_parts.speed import CASES, TINY, WARM_UP, Step, batches_of, measure
from benchmarks.gpu_parts.tasks import rows_of
from objectives.training import Training


def run(box: Box) -> None:
    """Measure network after network."""
    with tempfile.TemporaryDirectory() as name:
        for case in TINY if box.dry else CASES:
            if box.fits(6, case.name):
                measure(case, box, Path(name), ("same batch", "graph"))


def captured(training: Training, box: Box) -> Step:
    """Return a step that replays a CUDA graph of a whole step on one batch.

    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture

    Raises:
        RuntimeError: The device has no CUDA graphs, or something in the step cannot be captured.
    """
    if box.device.type != "cuda":
        raise RuntimeError("there are no CUDA graphs without a GPU")
    for group in training.optimizer.param_groups:
        group["capturable"] = True
    batch = next(batches_of(training))
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            rows_of(training, batch)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    training.optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        training.differentiate(batch, 1.0)
        training.step()

    def replay() -> int:
        graph.replay()
        return len(batch[0])

    return replay
