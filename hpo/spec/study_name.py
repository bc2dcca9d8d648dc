"""Names that a study cannot have, because a folder of that name in the runs folder would be in the way."""

from __future__ import annotations

import re

from hpo import layout

# Names of files are made of a study's, such as `comparison-with-<study>.html`, and a file's may have 255 letters.
LONGEST = 200
_PURPOSES = {
    layout.MLFLOW_ARTIFACTS: "the files of MLflow's runs",
    layout.KNOWLEDGE: "imported results of other studies",
    layout.JOURNAL: "the Optuna journal of all studies",
    layout.MLFLOW_STORE: "MLflow's runs of all studies",
}
# SQLite, Optuna and hpo put files such as `journal.log.lock` and `mlflow.db-wal` beside these.
_BESIDE = (layout.JOURNAL, layout.MLFLOW_STORE)


def name_problem(name: str) -> str:
    """Return why a study cannot have a name; empty if it can.

    Upper and lower case are one here, for so they are on some file systems.
    """
    if len(name) > LONGEST:
        return f"has {len(name)} letters; expected at most {LONGEST}, since files are named after the study"
    given = name.lower()
    for reserved, purpose in _PURPOSES.items():
        beside = reserved in _BESIDE and re.fullmatch(rf"{re.escape(reserved)}[.-].*", given)
        if given == reserved or beside:
            return (
                f"'{name}' is kept for {purpose}, which are in the runs folder too; expected another name, such as "
                f"{re.sub('[.]', '-', name)}-study"
            )
    return ""
