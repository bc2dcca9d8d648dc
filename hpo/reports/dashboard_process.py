"""Process that draws what optuna-dashboard shows of a study while it runs.

It is a process of its own because plotly and scikit-learn take some 200 MB, which the driver would keep to its end. It
reads what the driver has stored, draws, prints the changes of the study's attributes, and ends. The driver writes them:
the study has one writer.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import layout

if TYPE_CHECKING:
    import optuna

    from hpo.analysis.records import StudyRecord

# Values of attributes by name: as it was found (None: it was not there), and as it is to be.
Changes = dict[str, tuple[Any, Any]]
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Order:
    """Order of the driver, on stdin; the URL may hold a password, which no command line may.

    Attributes:
        driver: its process, with which this one ends.
        runs: the runs folder.
        study: the study's name.
        storage: the URL of its storage.
        language: the language of the texts.
    """

    driver: int
    runs: str
    study: str
    storage: str
    language: str

    def encoded(self) -> bytes:
        """Return the order as it is sent."""
        return json.dumps(asdict(self)).encode()


def main() -> None:
    """Read the order from stdin, and print the changes as JSON."""
    from hpo.analysis.records import records_of
    from hpo.storage.load_study import load_study
    from hpo.translation.catalogue import language

    os.nice(19)
    order = Order(**json.loads(sys.stdin.read()))
    threading.Thread(target=_end_with, args=(order.driver,), daemon=True).start()
    with contextlib.redirect_stdout(sys.stderr), language(order.language):  # libraries may print
        runs = Path(order.runs)
        spec, study = load_study(runs, order.study, order.storage)
        record = records_of(study, spec, layout.study_directory(runs, order.study), histories=False)
        changes = changes_of(study, record)
    print(json.dumps(changes))


def changes_of(study: optuna.Study, record: StudyRecord) -> Changes:
    """Return how the study's attributes have to change for the note and the figures of its record."""
    import optuna

    from hpo.reports.dashboard import save_figures
    from hpo.reports.dashboard_note import save_note

    # optuna-dashboard writes into a study; so it gets one in memory, with what the real one has.
    found = study._storage.get_study_system_attrs(study._study_id)
    sketch = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    for name, value in found.items():
        sketch._storage.set_study_system_attr(sketch._study_id, name, value)
    save_note(sketch, record)
    save_figures(sketch, record)
    drawn = sketch._storage.get_study_system_attrs(sketch._study_id)
    return {name: (found.get(name), value) for name, value in drawn.items() if found.get(name) != value}


def _end_with(driver: int) -> None:
    """End this process when the driver is gone, however that ended."""
    while os.getppid() == driver:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)
