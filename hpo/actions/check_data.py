"""The data of a study, loaded as a trial would, in a process of its own: the content of `hpo check --data`."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from hpo.errors import HpoError, ObjectiveError
from hpo.machine.start import command
from hpo.objective.load import load
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.text import one_line
from hpo.trial import Job, Trial
from hpo.worker.execute import Share, prepare

FUNCTION = "check_data"


def check_data(spec: StudySpec) -> tuple[str, ...]:
    """Call `check_data(trial)` of the module of the objective, with one configuration of the space.

    Returns:
        What it says of the data, a line a part.

    Raises:
        ObjectiveError: The data are wrong, there is no such function, or the objective is a command.
    """
    ref = spec.objective_ref()
    if ref.command:
        raise ObjectiveError(f"study '{spec.name}' runs a command, whose data hpo cannot check; leave out --data")
    with tempfile.TemporaryDirectory(prefix="hpo-check-") as folder:
        study, answer = Path(folder, "study.yaml"), Path(folder, "answer.json")
        study.write_text(spec.to_yaml(), encoding="utf-8")
        ended = subprocess.run(command(__name__, study, answer), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if not answer.exists():
            said = (ended.stdout.decode(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
            raise ObjectiveError(f"the check of the data ended with exit code {ended.returncode}: {said}")
        found = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in found:
        raise ObjectiveError(f"the data of study '{spec.name}' cannot be used: {found['error']}")
    return tuple(part.strip() for part in found["data"].replace("; ", "\n").splitlines() if part.strip())


def main() -> None:
    """Check the data of the study in sys.argv[1] and write what is found to sys.argv[2], as JSON."""
    spec, answer = load_spec(sys.argv[1]), Path(sys.argv[2])
    try:
        found = {"data": _checked(spec)}
    except HpoError as error:
        found = {"error": str(error)}
    except ValueError as error:  # the sentence of a loader
        found = {"error": one_line(error)}
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {one_line(error)}"}
    answer.write_text(json.dumps(found), encoding="utf-8")


def _checked(spec: StudySpec) -> str:
    ref = spec.objective_ref()
    place, _, _ = ref.target.rpartition(":")
    function = load(replace(ref, target=f"{place}:{FUNCTION}"))
    params = spec.space.resolve(spec.space.sample(random.Random(spec.seed)))
    with tempfile.TemporaryDirectory(prefix="hpo-check-") as folder:
        job = Job(0, params, spec.seed, ref, spec.constants, Path(folder), tuple(one.name for one in spec.metrics))
        prepare(job.seed, Share())
        return str(function(Trial(job, lambda step, metrics: None)))
