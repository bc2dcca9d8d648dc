"""Journals with several studies, damage of every kind to them, and what must hold after their repair.

`python tests/doctor/journal_fuzz.py SECONDS [SEED]` damages and repairs for so long, and prints a tally as JSON.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from hpo.doctor.journal_pieces import pieces_of
from hpo.doctor.journal_repair import KnownStudy, Loss, Repair
from hpo.machine.memory import host_memory
from hpo.storage.journal_records import parse
from hpo.storage.open import open_storage

NAMES = ("a", "b", "c")
KNOWN = [KnownStudy(name, [1, 2] if name == "c" else [2], {"metrics": name}) for name in NAMES]
# Of one repair.
MOST_SECONDS, MOST_BYTES = 10.0, 500 << 20


def write(path: Path) -> None:
    """Write a journal of three studies, as drivers that work at the same time do; the third has two metrics."""
    studies = []
    for name in NAMES:
        directions = ["minimize", "maximize"] if name == "c" else ["maximize"]
        study = optuna.create_study(study_name=name, storage=open_storage(f"journal:{path}"), directions=directions)
        study.set_user_attr("hpo:identity", {"metrics": name})
        studies.append(study)
        for each in studies:
            _trials(each)
    for study in studies[:2]:
        again = optuna.create_study(
            study_name=study.study_name, storage=open_storage(f"journal:{path}"), direction="maximize",
            load_if_exists=True,
        )  # fmt: skip
        _trials(again)


def _trials(study: optuna.Study) -> None:
    first = study.ask()
    x = first.suggest_float("x", 0, 1)
    first.set_user_attr("hpo:job", {"params": {"x": x}})
    second = study.ask()
    second.suggest_int("n", 0, 5)
    if len(study.directions) == 1:
        first.report(x, 1)
        second.report(x, 1)
    first.set_user_attr("hpo:outcome", {"state": "COMPLETE", "x": x})
    study.tell(first, [x] * len(study.directions))
    study.enqueue_trial({"x": 0.5})
    second.set_user_attr("hpo:outcome", {"state": "FAIL"})
    study.tell(second, state=optuna.trial.TrialState.FAIL)


def studies_of(path: Path) -> dict[str, Any]:
    """Return all that Optuna, without hpo, reads of each study."""
    storage = JournalStorage(JournalFileBackend(str(path)))
    return {
        study.study_name: [study.directions, study.user_attrs, *storage.get_all_trials(study._study_id)]
        for study in storage.get_all_studies()
    }


def repair(path: Path) -> dict[int, Loss]:
    """Repair a journal in place. Return what was lost."""
    found = Repair(list(pieces_of(path)), KNOWN)
    path.write_bytes(b"".join(found.content(memoryview(path.read_bytes()))))
    return found.losses


# --- damage


def _flip(rng: random.Random, lines: list[bytes]) -> None:
    at = rng.randrange(len(lines))
    line = bytearray(lines[at])
    for _ in range(rng.choice((1, 1, 2, 10, 100)) if line else 0):
        line[rng.randrange(len(line))] = rng.randrange(256)
    lines[at] = bytes(line)


def _truncate(rng: random.Random, lines: list[bytes]) -> None:
    at = rng.randrange(len(lines))
    lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)] + b"\n" * rng.randrange(2)


def _swap(rng: random.Random, lines: list[bytes]) -> None:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def _glue(rng: random.Random, lines: list[bytes]) -> None:
    at = rng.randrange(len(lines))
    lines[at] = lines[at].rstrip(b"\n")


def _remove(rng: random.Random, lines: list[bytes]) -> None:
    del lines[rng.randrange(len(lines))]


def _duplicate(rng: random.Random, lines: list[bytes]) -> None:
    at = rng.randrange(len(lines))
    lines.insert(rng.choice((at, rng.randrange(len(lines)))), lines[at])


def _zeros(rng: random.Random, lines: list[bytes]) -> None:
    at = rng.randrange(len(lines))
    content = bytearray(b"".join(lines[at:]))
    length = rng.choice((1, 100, 512, 4096))
    content[: min(length, len(content))] = bytes(min(length, len(content)))
    lines[at:] = bytes(content).splitlines(keepends=True)


def _noise(rng: random.Random, lines: list[bytes]) -> None:
    lines.insert(rng.randrange(len(lines)), rng.randbytes(rng.choice((1, 50, 5000))))


DAMAGE: tuple[Callable[[random.Random, list[bytes]], None], ...] = (
    _flip, _truncate, _swap, _glue, _remove, _duplicate, _zeros, _noise,
)  # fmt: skip


def fuzz(seconds: float, seed: int) -> dict[str, Any]:
    """Damage and repair for so long. Return how often which damage was done, and the worst of what was measured."""
    rng = random.Random(seed)
    tally: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.log"
        write(path)
        whole = path.read_bytes().splitlines(keepends=True)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            lines = list(whole)
            for _ in range(rng.choice((1, 1, 2, 5, 30))):
                damage = rng.choice(DAMAGE)
                if len(lines) > 3:
                    damage(rng, lines)
                    tally[damage.__name__.strip("_")] += 1
            content = b"".join(lines)
            path.write_bytes(content)
            began = time.process_time()  # the machine may be busy
            try:
                losses = repair(path)
                took = time.process_time() - began
                storage = open_storage(f"journal:{path}")
                optuna.create_study(study_name="new", storage=storage).add_trial(optuna.trial.create_trial(value=1.0))
                assert "new" in studies_of(path), "what is written afterwards cannot be read"
                for line in path.read_bytes().removesuffix(b"\n").split(b"\n"):
                    parse(line)
                assert took < MOST_SECONDS, f"it took {took:.1f} s"
            except BaseException:
                kept = Path(tempfile.gettempdir()) / f"journal-fuzz-{seed}-{tally['repaired']}.log"
                kept.write_bytes(content)
                print(f"seed {seed}: {kept} is what it failed on", file=sys.stderr)
                raise
            slowest = max(slowest, took)
            tally["repaired"] += 1
            tally["lost"] += len(losses)
            tally["settled"] += not Repair(list(pieces_of(path)), KNOWN).losses
    bytes_used = host_memory()  # not getrusage's, which begins with what the parent process had
    assert bytes_used < MOST_BYTES, f"it took {bytes_used >> 20} MiB"
    return {**tally, "slowest_s": round(slowest, 3), "MiB": bytes_used >> 20}


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(json.dumps(fuzz(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else os.getpid())))
