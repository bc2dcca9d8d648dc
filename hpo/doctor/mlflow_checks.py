"""What is wrong with the runs of a study in MLflow, the third of its books. The other two are the truth: MLflow is
written from them, and never they from MLflow, but for what they have lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from hpo import layout
from hpo.analysis.formatting import count, numbers
from hpo.doctor.context import Case, Check
from hpo.doctor.finding import Finding, Sure
from hpo.doctor.quarantine import keep_damaged
from hpo.errors import HpoError
from hpo.storage import history
from hpo.storage.history import Step
from hpo.text import redact
from hpo.trackers.mlflow import place

if TYPE_CHECKING:
    from hpo.trackers.mlflow.audit import Fault


@dataclass(frozen=True)
class _Words:
    """said: with {which} for the trials, {has} and {runs} that go with their number, and {detail}."""

    said: str
    sure: Sure
    remedy: str


_REWRITE = "write what MLflow lacks"
_ANEW = "take the run out of the study (tag hpo.orphan_of; it keeps all it has) and write one anew"
_OUT = "take the runs out of the study (tag hpo.orphan_of; they keep all they have) and close them"
_WORDS = {
    "unreachable": _Words("{detail}", "certain", "start its server or its database, and ask the doctor again"),
    "experiment-renamed": _Words(
        "MLflow's experiment of the study bears another name now: {detail}",
        "certain", "rename it back in MLflow, or put the new name under `mlflow: {{experiment: NAME}}` in study.yaml",
    ),
    "experiment-deleted": _Words(
        "MLflow's experiment of the study is in MLflow's trash", "possible", "restore it, as the next run would"
    ),
    "shared-key": _Words(
        "mlflow.json is that of study {detail}, as in a folder that was copied: both would write to the same runs",
        "likely", "give this study runs of its own",
    ),
    "missing-parent": _Words("the study has no parent run in MLflow", "certain", "restore it or write it anew"),
    "doubled-parent": _Words(
        "the study has {detail} parent runs in MLflow", "certain", "put all but one into MLflow's trash"
    ),
    "open-parent": _Words(
        "the study's parent run in MLflow is open, and nobody drives the study", "certain", "close it"
    ),
    "study-status": _Words(
        "the study's parent run in MLflow is {detail}", "certain", "close it as the study's trials say"
    ),
    "wrong-parent": _Words(
        "{runs} of {which} {is_} not below the study's parent run in MLflow", "certain", "put them there"
    ),
    "open-run": _Words("{which} ended, and {runs} in MLflow {is_} open", "certain", "write what is missing and close"),
    "missing-run": _Words("{which} ended, and {has} no run in MLflow", "certain", _REWRITE),
    "doubled-run": _Words(
        "{which} {has} more than one run in MLflow", "certain",
        "keep the closed one of each and put the others into MLflow's trash",
    ),
    "unknown-trial": _Words(
        "MLflow has runs of {which}, which the study does not have", "certain", _OUT
    ),
    "unknown-run": _Words(
        "MLflow has runs with the study's key whose tags do not say of which trial", "likely", _OUT
    ),
    "other-trial": _Words(
        "{runs} of {which} in MLflow {is_} of another trial of that number ({detail})", "likely", _ANEW
    ),
    "ended-otherwise": _Words(
        "{which} ended otherwise than {runs} in MLflow: {detail}", "certain", "write how the study has it"
    ),
    "values": _Words("{runs} of {which} in MLflow {has} other values: {detail}", "likely", _ANEW),
    "points": _Words("{runs} of {which} in MLflow {lacks} metrics ({detail})", "certain", _REWRITE),
    "more": _Words(
        "MLflow has metrics of {which} that history.jsonl does not have ({detail} values)", "likely",
        "add them to history.jsonl, and keep a copy of it as it is",
    ),
    "artifacts": _Words("{runs} of {which} in MLflow {lacks} files: {detail}", "certain", _REWRITE),
    "study-artifacts": _Words("the study's parent run in MLflow lacks files: {detail}", "certain", _REWRITE),
    "artifacts-unreachable": _Words(
        "the files of the study's runs in MLflow cannot be listed: {detail}", "certain",
        "start the place where MLflow keeps artifacts, or give yourself the right to read it",
    ),
}  # fmt: skip


def lost_place(case: Case) -> Iterator[Finding]:
    """A study that MLflow has or should have, whose mlflow.json does not say where."""
    noted = case.directory / layout.MLFLOW
    damaged = noted.exists()
    if case.driver is not None or place.read_place(case.directory) is not None:
        return
    if not damaged and case.spec.mlflow is None:
        return
    what = f"{noted} cannot be read" if damaged else f"{noted} is gone"
    from hpo.trackers.mlflow import restore
    from hpo.trackers.mlflow.repair import Repair, put_place

    try:
        found = restore.find_place(case.runs, case.spec, case.trials)
    except HpoError as error:
        yield _finding(case, "mlflow-lost", f"{what}, and {error}", "certain", _WORDS["unreachable"].remedy)
        return
    if found is not None:
        yield _finding(
            case, "mlflow-lost", f"{what}; MLflow has runs of '{case.name}' that started when its trials did", "likely",
            "note that these are the study's", partial(put_place, case.directory, found, keep_damaged),
        )  # fmt: skip
        return
    ended = [trial.number for trial in case.trials if trial.state.is_finished()]
    if damaged:
        uri = redact(place.tracking_uri(case.spec, case.runs))
        own = place.Place(place.new_key(), uri, place.experiment_name(case.spec))
        yield _finding(
            case, "mlflow-lost", f"{what}, and MLflow has no runs of the study where study.yaml says", "certain",
            "keep a copy of it, and give the study new runs", partial(put_place, case.directory, own, keep_damaged),
        )  # fmt: skip
    elif ended:
        uri = place.tracking_uri(case.spec, case.runs)
        repair = Repair(case.runs, case.spec, case.study, uri, place.experiment_name(case.spec))
        yield _finding(
            case, "mlflow-missing-run",
            f"{count(len(ended), 'trial')} ended, and none was ever written to MLflow, which study.yaml asks for",
            "certain", _REWRITE, repair,
        )  # fmt: skip


def runs(case: Case) -> Iterator[Finding]:
    """What MLflow's runs have otherwise than the study."""
    if place.read_place(case.directory) is None:
        return
    from hpo.trackers.mlflow.audit import audit

    for fault in audit(case.runs, case.spec, case.study, case.driver is not None):
        words = _WORDS[fault.kind]
        mend = partial(_add_steps, case, fault.trials) if fault.kind == "more" else fault.mend
        yield Finding(
            f"mlflow-{fault.kind}", case.name, fault.trials[0] if len(fault.trials) == 1 else None,
            _said(words.said, fault), words.sure, words.remedy.format(), mend,
        )  # fmt: skip


def steps_in_mlflow(case: Case, number: int) -> Sequence[Step] | None:
    """The whole history of a finished trial as MLflow has it; None where it has none.

    Raises HpoError when MLflow cannot be read."""
    if place.read_place(case.directory) is None:
        return None  # and need not load mlflow to see it
    from hpo.trackers.mlflow.restore import metrics_of

    return metrics_of(case.runs, case.spec, number)


def _finding(
    case: Case, check: str, said: str, sure: Sure, remedy: str, mend: Callable[[], None] | None = None
) -> Finding:
    return Finding(check, case.name, None, said, sure, remedy, mend)


def _said(template: str, fault: Fault) -> str:
    one = len(fault.trials) == 1
    said = template.format(
        which=f"{'trial' if one else 'trials'} {numbers(fault.trials)}",
        has="has" if one else "have",
        lacks="lacks" if one else "lack",
        is_="is" if one else "are",
        runs="its run" if one else "their runs",
        detail=fault.detail,
    )
    return said.replace("its run of", "the run of").replace("their runs of", "the runs of")


def _add_steps(case: Case, trials: Sequence[int]) -> None:
    """What the history has stays as it is."""
    for number in trials:
        path = case.folder(number) / layout.HISTORY
        own = {step.step: step for step in history.read(path)}
        steps = dict(own)
        for step in steps_in_mlflow(case, number) or ():
            kept = own.get(step.step, step)
            steps[step.step] = replace(kept, metrics={**step.metrics, **kept.metrics})
        if steps != own:
            if path.is_file():
                keep_damaged(path)
            history.write(path, [steps[step] for step in sorted(steps)])


CHECKS: tuple[Check, ...] = (lost_place, runs)
