"""What most tests need: a study.yaml in a folder of its own, and a run of it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from servers import make_mlflow_store, shared_file

from hpo import layout
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec

TOYS = Path(__file__).parent / "toys.py"

# A busy machine is slow: no example fails for its duration.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("unhurried")

# A shell without job control starts what it runs in the background deaf to Ctrl-C, and so all that is started from it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests edit an objective twice within a second, which a compiled file of the first does not notice.
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


# Files whose tests take longest, most of it waiting for processes, the longest first.
LONG = (
    "contracts/test_engines.py",
    "engines/test_ray.py",
    "cli/test_steering.py",
    "trackers/test_mlflow_process.py",
    "trackers/",
    "cli/test_mlflow.py",
    "storage/test_reconnecting.py",
    "test_kills.py",
    "doctor/",
    "objectives/test_micro_batches.py",
    "objectives/test_training.py",
    "test_objective.py",
    "cli/",
)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the order of `pytest_collection_modifyitems`: xdist would begin with the files of most tests. Let Ray's
    unclosed files be: Python finds them in whichever test then runs."""
    config.option.loadscopereorder = False
    unclosed = "unclosed file <_io.TextIOWrapper name='/(tmp/hpo-|sys/fs/cgroup)"
    config.addinivalue_line("filterwarnings", f"ignore:{unclosed}:ResourceWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: `pytest -n 3 --dist loadfile` hands out files in this order, or one of them would
    run alone at the end. Fixtures of a module are so made once."""
    items.sort(key=lambda item: next((k for k, part in enumerate(LONG) if part in str(item.path)), len(LONG)))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def study_yaml(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study.yaml over one float `x`, a toy objective and one worker; keys override."""

    def write(objective: str | None = "smooth", **keys: Any) -> Path:
        study = {
            "name": "toy",
            "objective": f"{TOYS}:{objective}",
            "metrics": [{"name": "score", "direction": "maximize"}],
            "search_space": {"x": {"low": 0.0, "high": 1.0}},
            "sampler": {"name": "random"},
            "pruner": {"name": "none"},
            "budget": {"trials": 4},
            "engine": {"name": "local", "workers": 1},
            "mlflow": False,
            "seed": 1,
        } | keys
        study = {key: value for key, value in study.items() if value is not None}
        if "command" in study:
            del study["objective"]
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        return path

    return write


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Ray in this process, so that engines need not start one each."""
    from hpo.engines.ray import local_ray

    with local_ray({"CPU": 4, "GPU": 0}):
        yield


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables and no run, to be copied: made once for all that run in parallel."""
    return shared_file(tmp_path_factory.getbasetemp(), "mlflow.db", make_mlflow_store)


@pytest.fixture
def default_store(runs: Path, empty_store: Path) -> Path:
    """The default MLflow store of the runs folder, made beforehand."""
    runs.mkdir()
    return Path(shutil.copyfile(empty_store, runs / layout.MLFLOW_STORE))


@pytest.fixture
def make_spec(study_yaml: Callable[..., Path]) -> Callable[..., StudySpec]:
    return lambda objective="smooth", **keys: load_spec(study_yaml(objective, **keys))
