"""Each use of what another library keeps private is known, and the library's version has an upper bound for it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version
from private_names import private_uses

ROOT = Path(__file__).resolve().parents[1]

# What a new version of the library may take away without a word. A use that is added belongs here, with its library;
# one that is gone is taken off. Python has no upper bound: the files that use its private names have tests of it.
USES: dict[str, dict[str, set[str]]] = {
    "optuna": {
        "hpo/actions/grow.py": {"_storage", "_study_id", "_trial_id"},
        "hpo/doctor/journal_pieces.py": {"optuna.storages.journal._storage.JournalStorageReplayResult"},
        "hpo/doctor/optuna_checks.py": {"_trial_id"},
        "hpo/oracle/oracle.py": {"_storage", "_trial_id"},
        "hpo/oracle/promotions.py": {"_trial_id"},
        "hpo/oracle/recovery.py": {"_trial_id"},
        "hpo/reports/dashboard_process.py": {"_storage", "_study_id"},
        "hpo/reports/dashboard_tracker.py": {"_storage", "_study_id"},
        "hpo/search/pruning.py": {"_get_latest_trial", "_storage", "_study_id", "_trial_id"},
        "hpo/search/study_view.py": {
            *("_read_trials_from_remote_storage", "_replay_result", "_studies", "_study_id", "_study_id_to_trial_ids"),
            *("_sync_with_backend", "_thread_lock", "optuna.storages._cached_storage._CachedStorage"),
        },
        "hpo/storage/journal.py": {"_trials", "_worker_id_prefix"},
        "hpo/storage/journal_lock.py": {"optuna.storages.journal._file.BaseJournalFileLock"},
        "hpo/storage/journal_replay.py": {
            *("_study_id_to_trial_ids", "_trial_id", "_trial_id_to_study_id"),
            "optuna.storages.journal._storage.JournalStorageReplayResult",
        },
        "hpo/storage/journal_snapshot.py": {
            *("_next_study_id", "_study_id", "_study_id_to_trial_ids", "_trial_id_to_study_id", "_trials", "_values"),
            "optuna.study._frozen.FrozenStudy",
        },
        "hpo/storage/reconnecting.py": {
            *("optuna.storages._base.DEFAULT_STUDY_NAME_PREFIX", "optuna.storages._rdb.models.TrialModel"),
        },
        "hpo/storage/rewriting_database.py": {"optuna.storages._rdb.models"},
        "hpo/transfer/bring_in.py": {"_storage", "_study_id"},
        "hpo/ui/live.py": {"_storage"},
        "hpo/warm_start/sources.py": {"_study_id"},
    },
    "ray": {
        "hpo/engines/ray.py": {"_py_driver_sys_path", "ray._private.ray_constants", "ray._private.services"},
        "hpo/engines/ray_tune.py": {"_global_node", "_started_actors", "_trial_to_actor", "ray._private.worker"},
    },
    "mlflow": {"hpo/trackers/mlflow/client.py": {"_engine_map"}},
    "python": {
        "hpo/machine/temporary.py": {"_config"},
        "hpo/worker/process_state.py": {"_filters_mutated"},
    },
}


def test_every_private_name_is_listed_and_every_listed_one_is_used() -> None:
    listed: dict[str, set[str]] = {}
    for files in USES.values():
        for file, names in files.items():
            listed[file] = listed.get(file, set()) | names
    used = private_uses(ROOT / "hpo")
    new = {file: sorted(names - listed.get(file, set())) for file, names in used.items()}
    gone = {file: sorted(names - used.get(file, set())) for file, names in listed.items()}
    assert {file: names for file, names in new.items() if names} == {}, "use what is public, or list it in USES"
    assert {file: names for file, names in gone.items() if names} == {}, "take it off USES; is the bound needed still?"


def test_their_libraries_have_an_upper_bound_below_the_next_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = {one.name: one.specifier for one in map(Requirement, project["dependencies"])}
    pins = dict(re.findall(r"^([\w-]+)==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    for library in USES.keys() - {"python"}:
        tested = Version(pins[library])
        assert requirements[library].contains(tested)
        next_one = f"{tested.major}.{tested.minor + 1}" if library != "mlflow" else f"{tested.major + 1}.0"
        assert not requirements[library].contains(next_one), f"{library} {next_one} was never tried"


def test_a_private_use_is_found(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "one.py").write_text(
        "import os, ray._private.services as s\nfrom optuna import _deprecated\n\n"
        "class A:\n    def __init__(self):\n        self._own = 1\n\n"
        "def f(study, other):\n    other._own\n    os._exit(1)\n    g(study._storage, _hidden=1)\n"
    )
    (package / "two.py").write_text("def f(study):\n    return study._own\n")
    assert private_uses(package) == {
        "package/one.py": {"ray._private.services", "optuna._deprecated", "_storage", "_hidden"},
        "package/two.py": {"_own"},
    }
