"""Defaults of hpo, the tasks and the studies, and what figures of a GPU say of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.engines.gpu_packing import GAIN, LEVELS
from hpo.worker.torch_runtime import _CONTEXT_BYTES

Rows = Sequence[Mapping[str, Any]]
# The least gain that is worth another default: as much as the packing asks of a level.
WORTH = GAIN


@dataclass(frozen=True)
class Verdict:
    """What the figures say of a default.

    Attributes:
        default: It, and where it is.
        says: "contradicted", "confirmed" or "not measured".
        why: The figures.
    """

    default: str
    says: str
    why: str


def verdicts(rows: Rows) -> list[Verdict]:
    """Return a verdict on each default, those that are contradicted first."""
    found = [verdict for check in CHECKS for verdict in check(rows)]
    return sorted(found, key=lambda one: ("contradicted", "confirmed", "not measured").index(one.says))


def _of(rows: Rows, part: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["part"] == part and "ended" not in row]


def _judge(default: str, against: Sequence[str], measured: Sequence[str]) -> Verdict:
    """Return a verdict from the figures that contradict a default, and all figures."""
    if not measured:
        return Verdict(default, "not measured", "")
    return Verdict(default, "contradicted" if against else "confirmed", "; ".join(against or measured))


def _ratios(rows: Rows, way: str) -> dict[str, tuple[float, Sequence[float]]]:
    """Return, by network, how many times the default's samples a second a way has, with the range over rounds."""
    return {row["network"]: (row["ratio"], row["ratio_range"]) for row in _of(rows, "speed") if row["way"] == way}


def _numerics(rows: Rows) -> Iterator[Verdict]:
    tasks = _of(rows, "same")
    wrong = [f"{row['task']} differs from the CPU" for row in tasks if not row["same"]]
    yield _judge(
        "the built-in tasks train the same on a GPU (objectives)",
        wrong,
        [f"{len(tasks)} trainings agree"] * bool(tasks),
    )
    half = [row for row in tasks if row["bfloat16"] is not None]
    far = [f"{row['task']} is far from float32" for row in half if not row["bfloat16_near"]]
    slower = [
        f"{name}: float32 is {ratio:.2f} times as fast"
        for name, (ratio, span) in _ratios(rows, "float32").items()
        if span[0] >= WORTH
    ]
    measured = [f"{name}: float32 at {ratio:.2f}" for name, (ratio, _) in _ratios(rows, "float32").items()]
    yield _judge(
        "precision: auto is bfloat16 (objectives/training.py)",
        far + slower,
        measured + [f"{len(half)} trainings are near float32"] * bool(half),
    )


def _way(way: str, default: str, least: float = WORTH) -> Callable[[Rows], Iterator[Verdict]]:
    """Return a check of a default against a way that it is not: at least so many times as fast contradicts it."""

    def check(rows: Rows) -> Iterator[Verdict]:
        texts = {
            name: (f"{name}: {ratio:.2f} times as fast", span) for name, (ratio, span) in _ratios(rows, way).items()
        }
        against = [text for text, span in texts.values() if span[0] >= least]  # in every round
        yield _judge(default, against, [text for text, _ in texts.values()])

    return check


def _graphs(rows: Rows) -> Iterator[Verdict]:
    found = {row["network"]: row for row in _of(rows, "graphs") if row["way"] == "graph"}
    texts = {name: f"{name}: {row['ratio']:.2f} times as fast" for name, row in found.items()}
    against = [texts[name] for name, row in found.items() if row["ratio_range"][0] >= WORTH]
    yield _judge("no CUDA graphs (objectives/training.py)", against, list(texts.values()))


def _batches(rows: Rows) -> Iterator[Verdict]:
    found = _ratios(rows, "same batch")
    texts = {name: f"{name}: {ratio:.2f} times as fast without making batches" for name, (ratio, _) in found.items()}
    against = [texts[name] for name, (ratio, _) in found.items() if ratio >= WORTH]
    yield _judge(
        "batches are drawn and augmented from the host's random numbers (objectives)", against, list(texts.values())
    )


def _compile(rows: Rows) -> Iterator[Verdict]:
    """Compare what torch.compile gains over a whole training of the study with what it takes at the start."""
    found: tuple[list[str], list[str]] = ([], [])
    for row in (row for row in _of(rows, "speed") if row["way"] == "compiled"):
        samples, start = row["batch"] * row["epoch_batches"] * row["epochs"], row["start_seconds"]
        saved = samples / row["samples_per_second"] * (row["ratio"] - 1)
        gain = f"{row['ratio']:.2f} times as fast, {saved:.0f} s of a whole training for {start:.0f} s at its start"
        _note(found, f"{row['network']}: {gain}", row["ratio"] >= WORTH and saved >= WORTH * start)
    yield _judge("compile: false (objectives/training.py)", *found)


def _packing(rows: Rows) -> Iterator[Verdict]:
    alone, levels, automatic, mps = ([], []), ([], []), ([], []), ([], [])
    for workload in dict.fromkeys(row["workload"] for row in _of(rows, "packing")):
        rates = {(row["gpu"], row["mps"]): row["trials_per_gpu_hour"] for row in _of(rows, "packing")
                 if row["workload"] == workload and row["trials_per_gpu_hour"]}  # fmt: skip
        fixed = {share: max(rate for (other, _), rate in rates.items() if other == share) for share, _ in rates}
        auto, one = fixed.pop("auto", None), fixed.get(1)
        packed = {share: rate for share, rate in fixed.items() if share != 1}
        best = max(fixed, key=lambda share: fixed[share]) if fixed else None
        if one and packed:
            _note(
                alone,
                f"{workload}: gpu: {best:g} does {fixed[best] / one:.2f} times the trials of gpu: 1",
                fixed[best] >= WORTH * one,
            )
        dense, least = fixed.get(0.125), fixed.get(1 / max(LEVELS))
        if dense and least:
            _note(
                levels,
                f"{workload}: gpu: 0.125 does {dense / least:.2f} times the trials of gpu: {1 / max(LEVELS):g}",
                dense >= GAIN * least,
            )
        if auto and fixed:
            _note(
                automatic,
                f"{workload}: auto does {auto / fixed[best]:.2f} times the trials of gpu: {best:g}",
                WORTH * auto < fixed[best],
            )
        for share in (share for share, used in rates if used and (share, False) in rates):
            with_it, without = rates[share, True], rates[share, False]
            _note(
                mps,
                f"{workload}, gpu: {share}: {with_it / without:.2f} times the trials with it",
                with_it * WORTH < without,
            )
    for row in _of(rows, "kill"):
        if row["mps"]:
            _note(mps, f"a killed worker took {row['others_lost']} others along", row["others_lost"] > 0)
    yield _judge("engine: {gpu: 1} of the studies for a GPU (studies/)", *alone)
    yield _judge(f"gpu: auto tries {', '.join(map(str, LEVELS))} trials on a GPU (hpo/engines/gpu_packing.py)", *levels)
    yield _judge("gpu: auto finds the share that pays (hpo/engines/gpu_packing.py)", *automatic)
    yield _judge("NVIDIA MPS is used where it is there (hpo/engines/factory.py)", *mps)


def _note(texts: tuple[list[str], list[str]], text: str, against: bool) -> None:
    texts[1].append(text)
    if against:
        texts[0].append(text)


def _memory(rows: Rows) -> Iterator[Verdict]:
    ends = [row for row in _of(rows, "memory") if "as_expected" in row]
    wrong = [f"{row['what']}: not as expected" for row in ends if not row["as_expected"]]
    yield _judge(
        "out of memory ends one trial, and micro-batches go on (hpo/worker, objectives)",
        wrong,
        [row["what"] for row in ends],
    )
    found = [row["mib"] for row in _of(rows, "memory") if "mib" in row]
    estimate = _CONTEXT_BYTES / 2**20
    texts = [f"a context takes {mib} MiB" for mib in found]
    yield _judge(
        f"a CUDA context is taken for {estimate:.0f} MiB (hpo/worker/torch_runtime.py)",
        [text for text, mib in zip(texts, found, strict=True) if not 0.5 * estimate <= mib <= estimate],
        texts,
    )


def _kill(rows: Rows) -> Iterator[Verdict]:
    ends = _of(rows, "kill")
    texts = [
        f"{'with' if row['mps'] else 'without'} MPS: {row['trials']} trials counted, {row['lost']} attempts lost"
        for row in ends
    ]
    wrong = [text for text, row in zip(texts, ends, strict=True) if not (row["exact"] and row["killed"])]
    yield _judge("a killed worker costs one attempt, and the books are exact (hpo/engines)", wrong, texts)


CHECKS: tuple[Callable[[Rows], Iterator[Verdict]], ...] = (
    _numerics,
    _way("fused", "AdamW is not fused (objectives/training.py)", 1.05),
    _way("host", "data are kept on the device if they fit (objectives/training.py, to_device)", 1.0),
    _graphs,
    _batches,
    _compile,
    _packing,
    _memory,
    _kill,
)
