"""`benchmarks/gpu.py` without a GPU: its parts go through on the CPU, and what it says follows from its rows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_parts import same
from benchmarks.gpu_parts.box import Box
from benchmarks.gpu_parts.results import Results, read_rows
from benchmarks.gpu_parts.table import document
from benchmarks.gpu_parts.verdicts import verdicts
from hpo.storage.history import Step

SCRIPT = Path(gpu.__file__)


def speed(way: str, ratio: float, low: float | None = None, network: str = "U-Net 16", **more: Any) -> dict[str, Any]:
    row = {"network": network, "way": way, "samples_per_second": 1000.0 * ratio, "ratio": ratio, "start_seconds": 30.0}
    spread = [ratio if low is None else low, ratio]
    return {"part": "speed", **row, "ratio_range": spread, "batch": 16, "epoch_batches": 21, "epochs": 50, **more}


def packing(gpu: float | str, rate: float | None, mps: bool = False) -> dict[str, Any]:
    row = {"workload": "ABR small", "gpu": gpu, "mps": mps, "trials_per_gpu_hour": rate, "reported_epochs": 9}
    return {"part": "packing", **row, "said": [], "stopped": None}


def same_row(within: bool, near: bool = True) -> dict[str, Any]:
    numbers = dict.fromkeys(same.TOLERANCES, 0.5)
    row = {"task": "abr tiny", "cpu": numbers, "gpu": numbers, "differences": numbers, "other_kernels": numbers}
    return {"part": "same", **row, "same": within, "bfloat16": numbers, "bfloat16_near": near}


def said_of(rows: list[dict[str, Any]], words: str) -> tuple[str, str]:
    (one,) = [verdict for verdict in verdicts(rows) if words in verdict.default]
    return one.says, one.why


def test_without_rows_nothing_is_said_of_any_default() -> None:
    assert {verdict.says for verdict in verdicts([])} == {"not measured"}
    assert "no part has ended" in document([])


@pytest.mark.parametrize(
    ("words", "rows", "says", "why"),
    [
        ("train the same", [same_row(True)], "confirmed", "1 trainings agree"),
        ("train the same", [same_row(True), same_row(False)], "contradicted", "abr tiny differs from the CPU"),
        ("bfloat16", [same_row(True, near=False)], "contradicted", "abr tiny is far from float32"),
        ("bfloat16", [speed("float32", 0.6)], "confirmed", "float32 at 0.60"),
        # In one round it was faster, in another it was not.
        ("bfloat16", [speed("float32", 1.3, low=0.9)], "confirmed", "float32 at 1.30"),
        ("bfloat16", [speed("float32", 1.3)], "contradicted", "float32 is 1.30 times as fast"),
        ("fused", [speed("fused", 1.04)], "confirmed", "1.04"),
        ("fused", [speed("fused", 1.06)], "contradicted", "1.06"),
        ("kept on the device", [speed("host", 0.95)], "confirmed", "0.95"),
        ("kept on the device", [speed("host", 1.01)], "contradicted", "1.01"),
        ("CUDA graphs", [speed("graph", 1.07) | {"part": "graphs"}], "confirmed", "1.07 times"),
        ("CUDA graphs", [speed("graph", 2.0) | {"part": "graphs"}], "contradicted", "2.00 times"),
        ("host's random numbers", [speed("same batch", 1.5)], "contradicted", "1.50 times"),
        # 16 x 21 x 50 samples take 8.4 s at 2,000 a second and would take 16.8 s: 8.4 s saved for 30 s.
        ("compile: false", [speed("compiled", 2.0)], "confirmed", "8 s of a whole training for 30 s"),
        ("compile: false", [speed("compiled", 2.0, epochs=500)], "contradicted", "84 s of a whole training"),
        ("{gpu: 1}", [packing(1, 100.0), packing(0.5, 105.0)], "confirmed", "1.05 times"),
        ("{gpu: 1}", [packing(1, 100.0), packing(0.25, 250.0)], "contradicted", "gpu: 0.25 does 2.50 times"),
        ("tries 1, 2, 4", [packing(0.25, 250.0), packing(0.125, 260.0)], "confirmed", "1.04 times"),
        ("tries 1, 2, 4", [packing(0.25, 250.0), packing(0.125, 400.0)], "contradicted", "1.60 times"),
        ("finds the share", [packing(0.25, 250.0), packing("auto", 240.0)], "confirmed", "0.96 times"),
        ("finds the share", [packing(0.25, 250.0), packing("auto", 100.0)], "contradicted", "0.40 times"),
        ("MPS", [packing(0.25, 250.0, True), packing(0.25, 200.0)], "confirmed", "1.25 times"),
        ("MPS", [packing(0.25, 150.0, True), packing(0.25, 200.0)], "contradicted", "0.75 times"),
        # What could not be counted says nothing.
        ("{gpu: 1}", [packing(1, None), packing(0.5, 105.0)], "not measured", ""),
    ],
)  # fmt: skip
def test_figures_that_contradict_a_default(words: str, rows: list[dict[str, Any]], says: str, why: str) -> None:
    found, text = said_of(rows, words)
    assert found == says
    assert why in text


def test_a_killed_worker_that_takes_others_along_speaks_against_mps() -> None:
    row = {"part": "kill", "mps": True, "killed": True, "exit_code": 0, "trials": 8, "lost": 3, "others_lost": 2}
    assert said_of([{**row, "exact": True}], "MPS is used")[0] == "contradicted"
    assert said_of([{**row, "exact": True}], "killed worker costs")[0] == "confirmed"
    assert said_of([{**row, "exact": False}], "killed worker costs")[0] == "contradicted"
    assert "**not exact**" in document([{**row, "exact": False}])


def test_reports_are_counted_from_when_every_place_has_reported() -> None:
    pytest.importorskip("optuna")
    from benchmarks.gpu_parts.packing import throughput

    def steps(*times: float) -> list[Step]:
        return [Step(index, time, 1, {"x": 0.0}) for index, time in enumerate(times)]

    rows = {0: steps(10.0, 11.0, 12.0), 1: steps(14.0, 16.0, 18.0), 2: steps(15.0, 17.0)}
    # Two places are there at 14 s; up to 18 s come four reports.
    assert throughput(rows, 2) == 1.0
    assert throughput(rows, 1) == 7 / 8
    assert throughput(rows, 4) is None
    assert throughput({}, 1) is None
    assert throughput({0: steps(10.0)}, 1) is None


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Several that wait for each other take forever on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
def test_a_training_is_compared_with_the_reference_and_with_bfloat16(tmp_path: Path) -> None:
    box = Box("same", time.monotonic() + 600, True, Results(tmp_path / "rows.jsonl"))
    (case,) = [case for case in same.CASES if case.name == "audio_angle resnet_small, ghm"]
    row = same.compared(case, tmp_path, box)
    assert row["same"]
    assert row["bfloat16_near"]
    assert 0 < max(row["other_kernels"].values()) < 1e-4  # other kernels did compute it
    assert max(row["bfloat16"].values()) > 1e-3
    # Another training is not the same.
    other = same.numbers(same.Case("other", case.task, {**case.options, "loss": "hinge"}), tmp_path / "o", box.device)
    assert not same.within(same.differences(row["cpu"], other), same.TOLERANCES)
    assert not same.within(same.differences(row["cpu"], {**row["cpu"], "last loss": float("nan")}), same.TOLERANCES)


def test_a_part_that_needs_what_is_not_there_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "NEEDS", {"speed": ("numpy", "no_such_package")})
    monkeypatch.setattr(gpu.signal, "signal", lambda *_: None)
    gpu.do_part("speed", 10.0, tmp_path / "rows.jsonl", True)
    (row,) = read_rows(tmp_path / "rows.jsonl")
    assert row["ended"] == "left out: not installed here: no_such_package"
    assert "not installed here: no_such_package" in document([row])


def test_a_part_that_is_cut_off_keeps_its_rows(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    Results(out).add("speed", **{key: value for key, value in speed("fused", 1.5).items() if key != "part"})
    said = gpu.run_part("speed", 0.2, out, True)
    assert said == "cut off after 0 s"
    Results(out).end("speed", said, 0.2)
    with out.open("a") as file:
        file.write('{"part": "speed", "netw')  # as a kill leaves it
    printed = subprocess.run(
        [sys.executable, "-P", str(SCRIPT), "--table", str(out)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    ).stdout
    assert "| U-Net 16 | fused | 1,500 | 1.50 (1.50-1.50) | 30.0 |" in printed
    assert "- speed: cut off after 0 s" in printed


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_how_to_try_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", str(SCRIPT)], capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert "no GPU is usable here" in done.stderr
    assert "--dry-run" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_dry_run_goes_through_all_parts(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, "-P", str(SCRIPT), "--dry-run", "--out", str(out), "--minutes", "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    rows = read_rows(out)
    ends = {row["part"]: row["ended"] for row in rows if "ended" in row}
    assert ends == dict.fromkeys(gpu.WEIGHTS, "complete")
    assert all(row["same"] for row in rows if "same" in row)
    assert all(row["as_expected"] for row in rows if "as_expected" in row)
    assert all(row["trials_per_gpu_hour"] > 0 for row in rows if row["part"] == "packing" and "gpu" in row)
    (kill,) = [row for row in rows if row["part"] == "kill" and "exact" in row]
    assert kill == {"part": "kill", "mps": False, "killed": True, "exit_code": 0, "trials": 3, "lost": 1,
                    "others_lost": 0, "exact": True}  # fmt: skip
    for title in ("Samples a second", "Trials per GPU hour", "Memory", "SIGKILL", "Left out", "Defaults"):
        assert f"### {title}" in done.stdout
    assert json.loads(out.read_text().splitlines()[0])["part"] == "machine"
