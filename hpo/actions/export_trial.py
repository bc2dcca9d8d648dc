"""A folder with all that is needed to train one trial again elsewhere, but for the data."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo import __version__
from hpo.actions.reproduce import Recorded, recorded_trial, study_of
from hpo.analysis.formatting import listed
from hpo.errors import NotReproducible
from hpo.machine.files import write_atomically
from hpo.machine.provenance import git_output
from hpo.objective.data_files import existing
from hpo.objective.sources import digest_of, sources_of
from hpo.spec import yaml_document
from hpo.spec.models import StudySpec
from hpo.trial import ObjectiveRef

STUDY, CONSTRAINTS, DIFF, DATA, SOURCE, README = (
    "study.yaml", "constraints.txt", "changes.diff", "data.json", "source", "README.md",
)  # fmt: skip


@dataclass
class Exported:
    """Names of the files that were written, and sentences on what is not as it was."""

    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def export_trial(runs: Path, name: str, number: int, folder: Path, seed: int | None = None) -> Exported:
    """Write a study of one trial, its sources, versions of packages, changes since the commit, and data's fingerprints.

    Args:
        runs: The runs folder.
        name: The study.
        number: The trial.
        folder: Where to write; made if it is not there.
        seed: Another seed than the trial's own.

    Raises:
        HpoError: There is no such trial, it cannot be trained again, or the folder holds something else.
    """
    first = recorded_trial(runs, name, number)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NotReproducible(f"{folder} is not an empty folder; expected a new one for --export")
    written = Exported()

    def write(file: str, content: str | bytes) -> None:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
        written.files.append(file)

    sources = _sources(first, written.notes)
    data, paths = _study(first, sources, seed)
    write(STUDY, yaml_document.dump(data))
    for file, content in sources.items():
        write(f"{SOURCE}/{file}", content)
    write(CONSTRAINTS, _constraints(first))
    if first.facts.diff:
        write(DIFF, first.facts.diff)
    elif first.facts.diff_bytes:
        size = f"{first.facts.diff_bytes / 2**20:.1f} MiB"
        written.notes.append(
            f"the changes since the git commit were too large to be kept ({size}), so {DIFF} is left out"
        )
    write(DATA, json.dumps({"splits": first.facts.splits, "files": first.facts.data}, indent=1))
    write(README, _readme(first, data, paths, written))
    return written


# --- the study


def _study(first: Recorded, sources: Mapping[str, bytes], seed: int | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the study's data, and the paths of this machine that it names, by their keys."""
    data, spec = study_of(first, seed), first.spec
    paths: dict[str, str] = {}

    def absolute(key: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: absolute(f"{key}.{name}", one) for name, one in value.items()}
        if isinstance(value, list):
            return [absolute(f"{key}.{place}", one) for place, one in enumerate(value)]
        found = existing(value, str(spec.root)) if isinstance(value, str) and value not in sources else None
        if found is None or key == "command.0":
            return value
        paths[key] = str(found.absolute())
        return paths[key]

    for key in ("constants", "command"):
        if key in data:
            data[key] = absolute(key, data[key])
    engine = {key: value for key, value in data["engine"].items() if key in ("cpu", "gpu", "fresh_process", "workers")}
    data["engine"] = engine | ({"gpu": 1.0} if engine.get("gpu") == "auto" else {})
    if sources:
        data["root"] = SOURCE
        place, colon, function = str(data.get("objective", "")).rpartition(":")
        if Path(place).is_absolute():
            data["objective"] = f"{_within(Path(place), spec.root)}{colon}{function}"
    elif spec.command is not None:
        paths["root"] = str(spec.root)
    else:
        del data["root"]
    return data, paths


def _within(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


# --- the objective's files


def _sources(first: Recorded, notes: list[str]) -> dict[str, bytes]:
    """Return the files of an objective of the user's own as the trial ran with them, by their paths in the project."""
    spec, found = first.spec, {}
    now = sources_of(spec.objective_ref())
    recorded = first.facts.sources or now.files
    places = [Path(spec.root), *([Path(now.place).parent] if Path(now.place).is_absolute() else [])]
    if not Path(now.place).is_absolute():  # installed, or it comes with hpo
        recorded = {}
    for name, digest in recorded.items():
        present = next((content for place in places if (content := _content(place / name)) is not None), None)
        content = present if present is not None and digest_of(present) == digest else _from_git(first, name, digest)
        if content is None:
            what = "is gone" if present is None else "has changed, and that of now is exported"
            notes.append(f"{name} {what}: git does not have it as the trial ran with it")
        if (kept := content if content is not None else present) is not None:
            found[name] = kept
    for name in _named_modules(spec, first.trial.params):
        if name not in found and (content := _content(Path(spec.root, name))) is not None:
            found[name] = content
    return found


def _named_modules(spec: StudySpec, params: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files of modules of the project that parameters and constants name, such as a loss `losses:focal`."""
    for value in (*params.values(), *spec.constants.values()):
        if isinstance(value, str) and re.fullmatch(r"[\w.]+:\w+", value):
            sources = sources_of(ObjectiveRef(target=value, root=str(spec.root)))
            if Path(sources.place).is_absolute():
                yield from sources.files


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _from_git(first: Recorded, name: str, digest: str) -> bytes | None:
    """Return a file as it was: that of the recorded commit, with the recorded changes; None if it is another one."""
    root, commit = first.spec.root, first.facts.commit
    if not commit:
        return None
    content = git_output(root, "show", f"{commit}:./{name}").encode()
    if digest_of(content) == digest or not first.facts.diff:
        return content if digest_of(content) == digest else None
    inside = git_output(root, "rev-parse", "--show-prefix").strip() + name
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, inside)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        command = ["git", "apply", f"--include={inside}", "-"]
        try:
            subprocess.run(command, cwd=folder, input=first.facts.diff.encode(), capture_output=True, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        changed = path.read_bytes()
    return changed if digest_of(changed) == digest else None


# --- texts


def _constraints(first: Recorded) -> str:
    environment = first.facts.environment
    packages = environment.get("packages") or {}
    head = [f"# Versions of all packages with which trial {first.trial.number} of study '{first.study.name}' ran."]
    if not packages:
        head = ["# The versions of the packages were not recorded."]
    if environment.get("python"):
        head.append(f"# Python {environment['python']}, {environment.get('platform', '')}")
    pinned = [f"{name}=={version}" for name, version in packages.items() if name != "hpo"]
    return "\n".join([*head, *pinned]) + "\n"


def _readme(first: Recorded, data: Mapping[str, Any], paths: Mapping[str, str], written: Exported) -> str:
    trial, facts = first.trial, first.facts
    recorded = first.facts.environment
    lines = [
        f"# Trial {trial.number} of study `{first.study.name}`, to be trained again",
        "",
        "```console",
        f"$ pip install -c {CONSTRAINTS} hpo   # hpo {__version__} here, and what the objective imports",
        f"$ hpo run {STUDY}",
        f"$ hpo trials {data['name']}",
        "```",
        "",
        f"- `{STUDY}`: every parameter fixed, with the trial's own seed.",
        f"- `{CONSTRAINTS}`: versions of the packages.",
    ]
    if any(file.startswith(f"{SOURCE}/") for file in written.files):
        lines.append(f"- `{SOURCE}/`: the objective's files. Files that it reads by names of its own are not there.")
    if DIFF in written.files:
        lines.append(f"- `{DIFF}`: what was changed since commit {facts.commit}, without passwords.")
    elif facts.commit:
        lines.append(f"- The code was that of git commit {facts.commit}.")
    lines.append(f"- `{DATA}`: fingerprints of the data; the data are not here.")
    if paths:
        lines += ["", f"Paths of the machine that this comes from, to be changed in `{STUDY}`:", ""]
        lines += [f"- `{key}`: {path}" for key, path in paths.items()]
    if facts.splits:
        lines += ["", "The data that it must see (the trial's own `data.json` says the same when they are equal):", ""]
        lines += [f"- {name}: {split.get('samples', '?')} samples, SHA-256 {split.get('sha256', 'not recorded')}"
                  for name, split in facts.splits.items()]  # fmt: skip
    if recorded:
        device, threads = f"{recorded.get('device')} ({recorded.get('processor')})", recorded.get("threads")
        lines += ["", f"It ran on {device}, {threads} threads, Python {recorded.get('python')}."]
    values = listed(f"{name} {value!r}" for name, value in trial.values.items())
    lines += ["", f"It ended {trial.state}" + (f" with {values}." if values else f": {trial.reason}.")]
    lines += ["", *(f"Note: {note}." for note in written.notes)] if written.notes else []
    return "\n".join(lines) + "\n"
