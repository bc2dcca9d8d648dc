"""The Markdown of a run: its tables, what was left out, and the verdicts on the defaults."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.gpu_parts.verdicts import Rows, verdicts


def document(rows: Rows) -> str:
    """Return the Markdown for RESULTS.md."""
    about = next((row for row in rows if row["part"] == "machine"), {"device": "an unknown device"})
    blocks = [f"## GPU (`python benchmarks/gpu.py{' --dry-run' if about.get('dry') else ''}`)", _machine(about)]
    for part, (title, head, cells) in TABLES.items():
        found = [row for row in rows if row["part"] == part and "ended" not in row]
        if found:
            blocks.append(f"### {title}\n\n{_table(head, [cells(row) for row in found])}")
    blocks.append(f"### Left out\n\n{_left_out(rows)}")
    body = [(verdict.says, verdict.default, verdict.why) for verdict in verdicts(rows)]
    nothing = "These are of a dry run, and mean nothing.\n\n" if about.get("dry") else ""
    blocks.append(f"### Defaults\n\n{nothing}{_table(('verdict', 'default', 'figures'), body)}")
    return "\n\n".join(blocks)


def _machine(about: Mapping[str, Any]) -> str:
    names = ("gib", "capability", "torch", "cuda", "cudnn", "python", "cores", "mps")
    said = ", ".join(f"{name} {about[name]}" for name in names if name in about)
    day = datetime.date.today().isoformat()
    dry = " A dry run: tiny sizes on the CPU, and its figures mean nothing." if about.get("dry") else ""
    return f"{day}, {about['device']} ({said}).{dry}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _left_out(rows: Rows) -> str:
    lines = []
    for row in rows:
        if "ended" in row:
            lines.append(f"- {row['part']}: {row['ended']}, {row['seconds']:.0f} s")
            lines += [f"  - {one}" for one in row["left_out"]]
    return "\n".join(lines) or "- all: no part has ended"


def _same(row: Mapping[str, Any]) -> list[str]:
    pairs = [f"{value:.6g} / {row['gpu'][name]:.6g}" for name, value in row["cpu"].items()]
    worst, other = (max(row[key].values()) for key in ("differences", "other_kernels"))
    half = "-" if row["bfloat16"] is None else f"{max(row['bfloat16'].values()):.1e}"
    return [row["task"], *pairs, f"{worst:.1e}", f"{other:.1e}", "same" if row["same"] else "**differs**", half]


def _speed(row: Mapping[str, Any]) -> list[str]:
    low, high = row["ratio_range"]
    ratio = f"{row['ratio']:.2f} ({low:.2f}-{high:.2f})"
    return [row["network"], row["way"], f"{row['samples_per_second']:,.0f}", ratio, f"{row['start_seconds']:.1f}"]


def _packing(row: Mapping[str, Any]) -> list[str]:
    rate = row["trials_per_gpu_hour"]
    said = " ".join([*row["said"], *(row["stopped"] or [])])
    return [
        row["workload"],
        str(row["gpu"]),
        "yes" if row["mps"] else "no",
        "-" if rate is None else f"{rate:,.0f}",
        said,
    ]


def _memory(row: Mapping[str, Any]) -> list[str]:
    told = {name: value for name, value in row.items() if name not in ("part", "what", "as_expected")}
    found = ", ".join(f"{name}: {value}" for name, value in told.items())
    return [row["what"], found, {True: "yes", False: "**no**"}.get(row.get("as_expected"), "-")]  # type: ignore[arg-type]


def _kill(row: Mapping[str, Any]) -> list[str]:
    exact = "exact" if row["exact"] else "**not exact**"
    return ["yes" if row["mps"] else "no", str(row["trials"]), str(row["lost"]), str(row["others_lost"]), exact]


_NUMBERS = ("first loss", "first gradient", "last loss", "validation loss")
_SPEED = ("network", "way", "samples / s")
TABLES: Mapping[str, tuple[str, Sequence[str], Callable[[Mapping[str, Any]], list[str]]]] = {
    "same": (
        "The same training on the CPU and on the GPU, float32",
        ("task", *(f"{name}, CPU / GPU" for name in _NUMBERS), "largest difference", "of the CPU's other kernels", "",
         "bfloat16's"),
        _same,
    ),
    "speed": ("Samples a second", (*_SPEED, "times the default (min-max of rounds)", "start, s"), _speed),
    "graphs": ("CUDA graphs", (*_SPEED, "times the same without (min-max of rounds)", "start, s"), _speed),
    "packing": ("Trials per GPU hour", ("trained", "gpu", "MPS", "trials / GPU hour", "hpo said"), _packing),
    "memory": ("Memory", ("what", "found", "as expected"), _memory),
    "kill": ("SIGKILL of a worker that shares its GPU", ("MPS", "trials", "lost", "others lost", "books"), _kill),
}  # fmt: skip
