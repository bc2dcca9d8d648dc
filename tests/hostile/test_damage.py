"""Random damage to the files of a runs folder: after `hpo doctor --fix` and a resume the books are exact, or a sentence
names what is lost.

HPO_ROUNDS sets the number of rounds, HPO_SEED the seed of the first: `HPO_SEED=17 HPO_ROUNDS=1` repeats round 17.
"""

from __future__ import annotations

import collections
import os

import pytest

from hostile.after_damage import differences, faults
from hostile.damaged_runs import DamagedRuns

ROUNDS = int(os.environ.get("HPO_ROUNDS", "60"))
FIRST = int(os.environ.get("HPO_SEED", "0"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def damaged(empty_store):
    runs = DamagedRuns(empty_store)
    yield runs
    runs.close()


@pytest.fixture(scope="module")
def books(damaged):
    return damaged.books()


@pytest.fixture(scope="module")
def tally(request):
    """How many rounds of each kind of damage ended how; printed in the end."""
    counts = collections.defaultdict(collections.Counter)
    yield counts
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        for kind, found in sorted(counts.items()):
            print(f"\n{kind:30}" + ", ".join(f"{how} {n}" for how, n in sorted(found.items())), end="")
        print()


def test_without_damage_the_books_are_exact(damaged, books):
    done = damaged.round(0, most=0)
    assert [*differences(done, books), *faults(done, books)] == []


@pytest.mark.parametrize("seed", range(FIRST, FIRST + ROUNDS))
def test_books_are_exact_or_a_sentence_names_what_is_lost(damaged, books, tally, seed):
    done = damaged.round(seed)
    for one in done.damages:
        print(f"round {seed}: {one.kind}: {one}")
    lost = list(differences(done, books))
    for study, number, said in lost:
        print(f"differs: {study}, trial {number}: {said}")
    found = faults(done, books)
    how = "with a fault" if found else "named" if lost else "exact"
    for kind in {"all", *(one.kind for one in done.damages)}:
        tally[kind][how] += 1
    for one in done.said:
        if one.command[0] in ("doctor", "run"):
            print(f"$ hpo {one.line} -> {one.code}\n{one.out if one.command[0] == 'doctor' else ''}{one.err}")
    assert not found, "\n".join(["", *map(str, done.damages), *found])
