"""Compares the runs of a study in MLflow with the truth: Optuna's trials, the history files and the trials' folders.

It asks the store once for all runs of the study, with the last value of each metric; for the points of a run only
where these differ; and for the list of its artifacts. It writes nothing: a fault's `mend` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.storage.trial_attributes import params_of
from hpo.text import redact
from hpo.trackers.mlflow import place, records
from hpo.trackers.mlflow.artifacts import Listed, lacking
from hpo.trackers.mlflow.client import client_of, ranked, reason, search
from hpo.trackers.mlflow.points import Truth, counts_of, difference, looks_the_same, truth_of
from hpo.trackers.mlflow.repair import Repair

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run
    from mlflow.tracking import MlflowClient
    from optuna import Study
    from optuna.trial import FrozenTrial

    from hpo.spec.models import StudySpec

# Clocks are read once for a start and an end, and MLflow keeps milliseconds: more than this is another moment.
_SAME_MOMENT = 1000
# The tags that say how a trial ended, which a repair of the study may change.
_ENDED = ("hpo.state", "hpo.cause", "hpo.requeued", "hpo.retry_of")


@dataclass(frozen=True)
class Fault:
    """kind: one of those that hpo.doctor.mlflow_checks words. trials: numbers, none of a fault of the study. detail:
    what the wording takes in. mend: see Repair; None where only a person can."""

    kind: str
    trials: tuple[int, ...] = ()
    detail: str = ""
    mend: Callable[[], None] | None = None


def audit(runs: Path, spec: StudySpec, study: Study, driven: bool) -> list[Fault]:
    """What is wrong in MLflow with a study that is noted to be there. A `driven` one is written all the time, so that
    only a store that cannot be reached, and a note that two studies have, are said of it."""
    directory = layout.study_directory(runs, spec.name)
    known = place.read_place(directory)
    if known is None:
        return []
    uri = place.written_uri(spec, runs, known)
    repair = Repair(runs, spec, study, uri, known.experiment)
    try:
        store = _read(uri, known)
        if (shared := _shared(runs, spec, directory, known, store)) is not None:
            return [shared]
        if driven:
            return []
        if store.elsewhere:
            return [Fault("experiment-renamed", detail=f"'{store.elsewhere}' rather than '{known.experiment}'")]
        return list(_Audit(directory, spec, study.get_trials(deepcopy=False), store, repair).faults())
    except Exception as error:  # each store raises its own classes
        if os.environ.get("HPO_DEBUG") == "1":
            raise
        return [Fault("unreachable", detail=f"MLflow at {redact(uri)} cannot be read: {reason(error)}")]


@dataclass(frozen=True)
class _Store:
    """runs: of the study. elsewhere: the name that its experiment has now, if that is not the one it was made under.
    deleted: it is in MLflow's trash. counts: see counts_of."""

    client: MlflowClient | None = None
    uri: str = ""
    runs: Sequence[Run] = ()
    elsewhere: str = ""
    deleted: bool = False
    counts: Mapping[tuple[str, str], int] | None = None


def _read(uri: str, known: place.Place) -> _Store:
    if place.is_missing_file(uri):  # to open it would make it
        return _Store(uri=uri)
    client = client_of(uri)
    experiment = client.get_experiment_by_name(known.experiment)
    elsewhere = ""
    if experiment is None:
        if (experiment := _renamed(client, known.key)) is None:
            return _Store(client, uri)
        elsewhere = experiment.name
    found = list(search(client, experiment.experiment_id, known.key))
    deleted = experiment.lifecycle_stage == "deleted"
    return _Store(client, uri, found, elsewhere, deleted, counts_of(uri, known.key))


def _renamed(client: MlflowClient, key: str) -> Experiment | None:
    there = {experiment.experiment_id: experiment for experiment in client.search_experiments()}
    found = next(search(client, list(there), key), None) if there else None
    return None if found is None else there[found.info.experiment_id]


def _shared(runs: Path, spec: StudySpec, directory: Path, known: place.Place, store: _Store) -> Fault | None:
    """Of a study whose folder was copied from another's: both would write to the same runs. The parent bears the name
    of the study that made it; where a user gave it another, the older note is the original."""
    others = [
        other
        for other in layout.studies_in(runs)
        if other != spec.name and (noted := place.read_place(runs / other)) is not None and noted.key == known.key
    ]
    if not others:
        return None
    made_by = {run.info.run_name for run in store.runs if run.data.tags.get(records.KIND) == records.STUDY_KIND}
    named = sorted(made_by & {spec.name, *others})
    if not named:
        ages = {name: (runs / name / layout.MLFLOW).stat().st_mtime for name in (spec.name, *others)}
        named = [min(ages, key=lambda name: (ages[name], name))]
    if spec.name in named:
        return None
    own = place.Place(place.new_key(), known.tracking_uri, known.experiment)

    def mend() -> None:
        if place.read_place(directory) == known:
            place.write_place(directory, own)

    return Fault("shared-key", detail=f"'{named[0]}'", mend=mend)


class _Audit:
    def __init__(
        self, directory: Path, spec: StudySpec, trials: Sequence[FrozenTrial], store: _Store, repair: Repair
    ) -> None:
        self._directory = directory
        self._spec = spec
        self._trials = {trial.number: trial for trial in trials}
        self._store = store
        self._repair = repair
        self._children: dict[int, list[Run]] = {}
        parents: list[Run] = []
        self._strange: list[Run] = []
        for run in store.runs:
            number = records.trial_of(run.data.tags)
            if number is not None:
                self._children.setdefault(number, []).append(run)
            else:
                is_parent = run.data.tags.get(records.KIND) == records.STUDY_KIND
                (parents if is_parent else self._strange).append(run)
        kept = [ranked(found)[0] for found in self._children.values()]
        self._parents = ranked(parents, [run.data.tags.get(records.PARENT, "") for run in kept])
        self._faults: dict[str, list[tuple[int | None, str]]] = {}
        self._listed: list[Listed] = []
        self._reported = {records.name_of(metric.name) for metric in spec.metrics}
        self._suspects: list[tuple[int, Run, Truth, bool]] = []

    def faults(self) -> Iterator[Fault]:
        self._see_orphans()
        for trial in self._trials.values():
            if trial.state.is_finished():
                self._see_trial(trial)
        for suspect in self._suspects:
            self._judge(*suspect)
        yield from list(self._see_parent())
        yield from self._see_artifacts()
        for kind, found in self._faults.items():
            numbers = tuple(number for number, _ in found if number is not None)
            text = next((text for _, text in found if text), "")
            detail = f"trial {numbers[0]}: {text}" if text and len(numbers) > 1 else text
            mend = None if kind == "more" else self._repair.upload if kind == "artifacts" else self._repair
            yield Fault(kind, numbers, detail, mend)

    def _note(self, kind: str, number: int | None, detail: str = "") -> None:
        self._faults.setdefault(kind, []).append((number, detail))

    # --- the study

    def _see_parent(self) -> Iterator[Fault]:
        active = [run for run in self._parents if _active(run)]
        if not active:
            if self._store.deleted:
                yield Fault("experiment-deleted", mend=self._repair)
            elif self._store.runs or (self._spec.mlflow is not None and self._trials):
                yield Fault("missing-parent", mend=self._repair)
            return
        if len(active) > 1:
            yield Fault("doubled-parent", detail=str(len(active)), mend=self._repair)
        parent = active[0]
        due = records.study_status(self._spec, self._trials.values())
        if parent.info.status == "RUNNING":
            yield Fault("open-parent", mend=self._repair)
        elif parent.info.status not in (due, "FINISHED"):  # one that had finished may have been extended since
            yield Fault("study-status", detail=f"{parent.info.status} rather than {due}", mend=self._repair)
        for number, found in sorted(self._children.items()):
            run = ranked(found)[0]
            wrong = _active(run) and run.data.tags.get(records.PARENT) != parent.info.run_id
            if wrong and number in self._trials and run.info.run_id not in self._repair.detach:
                self._note("wrong-parent", number)
        self._listed.append(Listed(None, parent, records.artifacts(self._directory, records.STUDY_ARTIFACTS)))

    def _see_orphans(self) -> None:
        """Runs of trials that the study does not have, or has but never began."""
        for number, found in sorted(self._children.items()):
            trial = self._trials.get(number)
            if trial is None or trial.state.name == "WAITING":
                for run in filter(_active, found):
                    self._detach("unknown-trial", number, run)
        for run in filter(_active, self._strange):
            self._detach("unknown-run", None, run)

    def _detach(self, kind: str, number: int | None, run: Run, detail: str = "") -> None:
        self._repair.detach[run.info.run_id] = run
        self._note(kind, number, detail)

    # --- a trial

    def _see_trial(self, trial: FrozenTrial) -> None:
        """The first thing that is wrong with its run; mended, it is looked at again."""
        number = trial.number
        found = self._children.get(number, [])
        if not found:
            if self._spec.mlflow is not None:
                self._note("missing-run", number)
            return
        active = [run for run in ranked(found) if _active(run)]
        if not active:
            return  # a user put it into MLflow's trash, and it stays there
        of_others = {run.info.run_id: wrong for run in active if (wrong := self._other_trial(trial, run))}
        for run in active:
            if run.info.run_id in of_others:
                self._detach("other-trial", number, run, of_others[run.info.run_id])
        own = [run for run in active if run.info.run_id not in of_others]
        if not own:
            self._make_room(number)
            return
        run = own[0]
        if len(own) > 1:
            self._note("doubled-run", number)
        elif run.info.status == "RUNNING":
            self._note("open-run", number)
        elif wrong := self._ended_otherwise(trial, run):
            self._repair.reopen.add(run.info.run_id)
            self._note("ended-otherwise", number, wrong)
        else:
            self._see_points(trial, run)

    def _make_room(self, number: int) -> None:
        """A run that is written anew must not find one in MLflow's trash, which would be taken for a user's wish."""
        for run in self._children[number]:
            if not _active(run):
                self._repair.detach[run.info.run_id] = run

    def _other_trial(self, trial: FrozenTrial, run: Run) -> str:
        """MLflow lets no parameter and no start change: a run that has others can only be written anew."""
        if abs(run.info.start_time - records.milliseconds(records.started(trial))) > _SAME_MOMENT:
            return "it started at another time"
        there = run.data.params
        for name, value in records.flat(params_of(trial, self._spec.space)).items():
            if there.get(name, value) != value:
                return f"{name} is {there[name]} rather than {value}"
        return ""

    def _ended_otherwise(self, trial: FrozenTrial, run: Run) -> str:
        due = records.status(trial)
        if run.info.status != due:
            return f"{run.info.status} rather than {due}"
        tags = records.trial_tags(trial, self._spec)
        wrong = [tag for tag in _ENDED if run.data.tags.get(tag) != tags.get(tag)]
        if wrong:
            self._repair.clear[run.info.run_id] = {tag for tag in wrong if tag not in tags}
            there, due = run.data.tags.get(wrong[0], "empty"), tags.get(wrong[0], "empty")
            return f"{wrong[0]} {there} rather than {due}"
        ended = records.milliseconds(records.finished(trial))
        if abs((run.info.end_time or 0) - ended) > _SAME_MOMENT:
            return "it was closed at another time"
        if records.flat(params_of(trial, self._spec.space)).keys() - run.data.params.keys():
            return "it lacks parameters"
        return ""

    def _see_points(self, trial: FrozenTrial, run: Run) -> None:
        truth = truth_of(trial, self._spec, layout.trial_directory(self._directory, trial.number))
        self._reported |= truth.reported
        if set(trial.intermediate_values) - truth.steps:
            return  # a history that lacks what Optuna has is no truth; it is a finding of its own
        files = records.artifacts(layout.trial_directory(self._directory, trial.number), records.ARTIFACTS)
        self._listed.append(Listed(trial.number, run, files))
        same = looks_the_same(truth, run, self._store.counts)
        if not same or run.data.metrics.keys() - truth.names:
            self._suspects.append((trial.number, run, truth, same))

    def _judge(self, number: int, run: Run, truth: Truth, same: bool) -> None:
        """A run that may have other points than its trial. What somebody logged to it beside what trials of this study
        report is no fault."""
        foreign = run.data.metrics.keys() - truth.names - self._reported
        if same and foreign == run.data.metrics.keys() - truth.names:
            return
        assert self._store.client is not None
        found = difference(self._store.client, truth, run)
        more = {(name, step) for name, step, _ in found.more if name not in foreign}
        if found.other:
            name, step, value = min(found.other)
            self._detach("values", number, run, f"{name} of step {step} is {value} in MLflow")
            self._make_room(number)
        elif more:
            self._note("more", number, f"{len(more)}")
        elif found.missing:
            self._repair.reopen.add(run.info.run_id)
            self._note("points", number, f"{len(found.missing)} of {len(truth.points)}")

    # --- artifacts

    def _see_artifacts(self) -> Iterator[Fault]:
        # What lacks rows must not take the place of a whole file.
        lacks_rows = {number for number, _ in self._faults.get("more", ())}
        wanted = [
            listed
            for listed in self._listed
            if listed.number not in lacks_rows and listed.run.info.run_id not in self._repair.detach
        ]
        try:
            for listed, names in lacking(self._store.uri, wanted):
                if listed.number is None:
                    yield Fault("study-artifacts", detail=", ".join(names), mend=self._repair.upload)
                else:
                    self._repair.reopen.add(listed.run.info.run_id)
                    self._note("artifacts", listed.number, ", ".join(names))
        except Exception as error:  # each store of artifacts raises its own classes
            yield Fault("artifacts-unreachable", detail=reason(error))


def _active(run: Run) -> bool:
    return bool(run.info.lifecycle_stage != "deleted")
