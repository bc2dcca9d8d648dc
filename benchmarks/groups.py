"""What a search finds in each group, beside what random trials find that are never stopped.

    python benchmarks/groups.py README.md studies/quickstart.yaml --out rows.jsonl
    python benchmarks/groups.py --out rows.jsonl --table                            # print what rows.jsonl holds

A study is a YAML file, or a Markdown file whose first YAML is a study; the quickstart's objective stands for its
`train.py:train`. `own` searches it as it is, `random` with 40 random trials that run to their end, and `again` trains
the best configuration of each group that these have found, once a seed. Rows are appended, and what is there already is
not run again. `noise` is the standard deviation of `again`.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hpo.analysis.groups import groups_of
from hpo.analysis.records import read_study
from hpo.runner import run
from hpo.spec.load import load_spec

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("own", "random", "again")
UNPRUNED = {"sampler": "random", "pruner": "none", "red_flags": ["non_finite"], "enqueue": [], "budget": {"trials": 40}}


def study_in(path: Path) -> dict[str, Any]:
    """The keys of a study.yaml."""
    text = path.read_text()
    if path.suffix == ".md":
        (text,) = re.findall(r"```yaml\n(name:.*?)```", text, re.DOTALL)
    keys: dict[str, Any] = yaml.safe_load(text)
    return keys | ({"objective": "objectives.quickstart:train"} if keys["objective"] == "train.py:train" else {})


def _changes(kind: str, seed: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if kind == "own":
        return {"seed": seed}
    if kind == "random":
        return {**UNPRUNED, "seed": seed}
    found = [group for row in rows if row["kind"] != "again" for group in row["groups"] if group["params"]]
    best = {group["group"]: group["params"] for group in sorted(found, key=lambda group: group["best"])}  # maximized
    return {**UNPRUNED, "seed": 1000 + seed, "enqueue": list(best.values()), "budget": {"trials": len(best)}}


def row_of(path: Path, kind: str, seed: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Run a study in a runs folder of its own, so that no warm start finds an earlier one."""
    keys = study_in(path) | _changes(kind, seed, [row for row in rows if row["study"] == path.name])
    keys |= {"mlflow": False, "root": str(ROOT), "engine": {"workers": 2, "cpu": 1}}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "study.yaml").write_text(yaml.safe_dump(keys))
        spec = load_spec(Path(folder) / "study.yaml")
        if run(spec, Path(folder) / "runs").interrupted:
            raise SystemExit(130)
        study = read_study(Path(folder) / "runs", spec.name)
    metric, groups = study.metrics[0], []
    for group in groups_of(study):
        complete = [trial for trial in group.trials if trial.completed(metric)]
        best = max(complete, key=lambda trial: trial.values[metric.name], default=None)
        value, params = (best.values[metric.name], dict(best.params)) if best else (None, None)
        states = {state: group.in_state(state) for state in ("COMPLETE", "PRUNED", "FAIL")}
        groups.append({"group": group.label, "best": value, "params": params, **states})
    return {"study": path.name, "kind": kind, "seed": seed, "groups": groups}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| study | group | trials | seeds | best: mean | of each seed | fewest complete | noise |"]
    lines.append("|---|---|---|--:|--:|---|--:|--:|")
    for study in dict.fromkeys(row["study"] for row in rows):
        for label in dict.fromkeys(group["group"] for row in rows for group in row["groups"]):
            found: dict[str, list[dict[str, Any]]] = {
                kind: [
                    group
                    for row in sorted(rows, key=lambda row: row["seed"])
                    if (row["study"], row["kind"]) == (study, kind)
                    for group in row["groups"]
                    if group["group"] == label
                ]
                for kind in KINDS
            }
            again = [group["best"] for group in found["again"] if group["best"] is not None]
            noise = f"{statistics.stdev(again):.4f}" if len(again) > 1 else ""
            for kind in ("own", "random"):
                bests = [group["best"] for group in found[kind] if group["best"] is not None]
                if bests:
                    each, fewest = " ".join(f"{b:.3f}" for b in bests), min(g["COMPLETE"] for g in found[kind])
                    mean = f"{statistics.mean(bests):.4f}"
                    lines.append(
                        f"| {study} | {label} | {kind} | {len(found[kind])} | {mean} | {each} | {fewest} | {noise} |"
                    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--only", default=",".join(KINDS), help="kinds, with commas between")
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    for path in [] if given.table else given.studies:
        for kind in given.only.split(","):
            for seed in given.seeds:
                if (path.name, kind, seed) not in {(row["study"], row["kind"], row["seed"]) for row in rows}:
                    rows.append(row_of(path, kind, seed, rows))
                    with given.out.open("a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
