"""What a GPU gives the built-in tasks and the packing of trials, and which defaults its figures contradict.

    python benchmarks/gpu.py                       # within 8 minutes on one GPU, with what is installed there
    python benchmarks/gpu.py --minutes 15 --parts speed packing
    python benchmarks/gpu.py --dry-run             # all parts on the CPU, tiny
    python benchmarks/gpu.py --table gpu.jsonl     # the table of an earlier run, also of one that was killed

The parts, in the order of their worth, each in a process of its own with a time box of its own:

    same     do the built-in tasks train the same in float32 on the GPU as on the CPU, and nearly so in bfloat16
    speed    samples a second: precision, fused optimizer, where the data are, torch.compile
    graphs   samples a second of the same step as a CUDA graph (a failed capture would spoil what comes after it)
    packing  trials per GPU hour of `gpu: 1`, 1/2, 1/4, 1/8 and auto, with NVIDIA MPS and without (real `hpo run`)
    memory   a planted out-of-memory beside other trials, and micro-batches
    kill     SIGKILL of a worker that shares its GPU: do the others go on, and are the books exact

What a part leaves of its box, the later ones have. A row is written to --out as soon as it is measured, and a line when
a part ends: a kill loses nothing. A part that needs a package that is not there says so, and the others go on. Printed
at the end: Markdown for RESULTS.md, what was left out and why, and each default that the figures confirm or contradict.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # where the project is not installed

from benchmarks.gpu_parts.results import Results, read_rows  # noqa: E402
from benchmarks.gpu_parts.table import document  # noqa: E402

# The part of the time that each may have, and the packages that it needs beside torch, by the name of their import.
WEIGHTS = {"same": 4, "speed": 10, "graphs": 2, "packing": 10, "memory": 3, "kill": 4}
NEEDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("same", "speed", "graphs"), ("numpy", "sklearn", "scipy", "PIL")),
    **dict.fromkeys(("packing", "memory", "kill"), ("optuna", "pydantic", "yaml", "click", "babel", "numpy", "scipy")),
}
# Seconds that the end of a part may take, and those for the table.
GRACE, TABLE = 6.0, 3.0


def run_part(part: str, seconds: float, out: Path, dry: bool) -> str:
    """Run a part in a process of its own for at most so many seconds. Return how it ended."""
    command = [sys.executable, "-P", str(Path(__file__).resolve()), "--part", part]
    command += ["--seconds", f"{max(1.0, seconds - GRACE):.0f}", "--out", str(out), *(["--dry-run"] if dry else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"cut off after {seconds:.0f} s"
    finally:
        # First it may end what it has started: studies, and the daemon of NVIDIA MPS.
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
    return "" if code == 0 else f"its process ended with code {code}"


def measure(parts: Sequence[str], until: float, out: Path, dry: bool) -> None:
    """Run the parts in turn, each with its share of what is left of the time."""
    results, left = Results(out), list(parts)
    while left:
        part = left[0]
        share = WEIGHTS[part] / sum(WEIGHTS[one] for one in left)
        box = share * (until - time.monotonic())
        left.remove(part)
        began = time.monotonic()
        if box < 2 * GRACE and not dry:
            results.end(part, "left out: no time was left for it", 0.0)
            continue
        print(f"{part}: at most {box:.0f} s", flush=True)
        said = run_part(part, box, out, dry)
        ended = any(row.get("ended") and row["part"] == part for row in read_rows(out))
        if not ended:
            results.end(part, said or "its process said nothing", time.monotonic() - began)


def do_part(part: str, seconds: float, out: Path, dry: bool) -> None:
    """Measure a part in this process, until it is done or the seconds are over."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # what is open is closed
    from importlib import import_module
    from importlib.util import find_spec

    results, began = Results(out), time.monotonic()
    missing = [name for name in ("torch", *NEEDS[part]) if find_spec(name) is None]
    if missing:
        results.end(part, f"left out: not installed here: {', '.join(missing)}", 0.0)
        return
    from benchmarks.gpu_parts.box import Box

    if dry:
        import torch

        torch.set_num_threads(1)  # several that wait for each other take forever on a busy machine
    box = Box(part, began + seconds, dry, results)
    try:
        import_module(f"benchmarks.gpu_parts.{part}").run(box)
    except SystemExit:
        results.end(part, "cut off", time.monotonic() - began, box.left_out)
    except ImportError as error:
        results.end(part, f"left out: {error}", time.monotonic() - began, box.left_out)
    except Exception as error:
        import traceback

        traceback.print_exc()
        results.end(part, f"failed: {type(error).__name__}: {error}", time.monotonic() - began, box.left_out)
    else:
        results.end(part, "complete", time.monotonic() - began, box.left_out)


def machine() -> dict[str, Any]:
    """Return what the figures were taken on; asked in a process of its own, which leaves no CUDA context here."""
    code = "import json, benchmarks.gpu_parts.machine as machine; print(json.dumps(machine.describe()))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return json.loads(lines[-1]) if done.returncode == 0 else {"device": f"unknown ({(lines or ['no output'])[-1]})"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together [8]")
    parser.add_argument("--parts", nargs="+", choices=WEIGHTS, default=list(WEIGHTS), help="only these [all]")
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"), help="rows are appended to it [gpu.jsonl]")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, with tiny sizes: figures mean nothing")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the table of these rows, measure nothing")
    parser.add_argument("--part", choices=WEIGHTS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        do_part(given.part, given.seconds, given.out, given.dry_run)
        return
    if given.table:
        print(document(read_rows(given.table)))
        return
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    until = time.monotonic() + 60 * given.minutes - TABLE
    about = machine()
    if not given.dry_run and not about.get("gpu"):
        raise SystemExit(f"no GPU is usable here: {about['device']}; --dry-run goes through all parts on the CPU")
    if given.out.exists():
        given.out.replace(given.out.with_name(f"{given.out.name}.earlier"))
    Results(given.out).add("machine", **about, dry=given.dry_run)
    try:
        measure([part for part in WEIGHTS if part in given.parts], until, given.out, given.dry_run)
    finally:  # also of a run that is interrupted
        print(document(read_rows(given.out)))


if __name__ == "__main__":
    main()
