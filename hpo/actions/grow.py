"""Growth of a study: another search space, in which its trials stay what they were.

Optuna refuses trials of two spaces in one study. So all trials are written anew in the space of the edited study.yaml,
in one step of the storage (`hpo.storage.rewriting`): a kill leaves the study as it was, or as it is to be. What follows
(the recorded study.yaml, MLflow) is done by the same command again, and by `hpo run`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna

from hpo import layout
from hpo.actions.backup import backup
from hpo.actions.growth_plan import Growth, plan_growth, space_of, values_before
from hpo.control.requests import effective, read_steering, record
from hpo.errors import HpoError, NotGrown, StudyLocked
from hpo.spec import identity
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage.driver_lock import driver_lock
from hpo.storage.driver_pulse import driver_elsewhere
from hpo.storage.journal import JOURNAL_SCHEME
from hpo.storage.load_study import load_study
from hpo.storage.open import close_storage, open_storage, storage_url
from hpo.storage.rewriting import Rewriting
from hpo.storage.rewriting_database import rewrite_database
from hpo.storage.rewriting_journal import rewrite_journal
from hpo.storage.study_folder import refuse_copy, refuse_taken
from hpo.storage.trial_attributes import IDENTITY
from hpo.text import redact

Say = Callable[[str], None]


@dataclass(frozen=True)
class Grown:
    """A study that can grow, and what that makes of it.

    Attributes:
        spec: the edited study.
        runs: the runs folder.
        url: the URL of its storage.
        study: the study as its storage has it, for reading.
        growth: what changes; no changes if the study is as the edited study.yaml already.
    """

    spec: StudySpec
    runs: Path
    url: str
    study: optuna.Study
    growth: Growth

    @property
    def directory(self) -> Path:
        """The study's folder."""
        return layout.study_directory(self.runs, self.spec.name)

    @property
    def trials(self) -> int:
        """The number of its trials."""
        return len(self.growth.trials)


@contextmanager
def growing(spec: StudySpec, runs: Path, was: Sequence[str] = ()) -> Iterator[Grown]:
    """Compare an edited study with the study as it ran. Nobody drives the study until the end of the block.

    Args:
        spec: the edited study.
        runs: the runs folder.
        was: `NAME=VALUE` texts on what the objective did before a parameter was searched.

    Raises:
        StudyNotFound: the runs folder has no such study.
        StudyLocked: the study runs, or another one whose trials are in the same journal.
        NotGrown: it cannot grow so; the message has all reasons.
        HpoError: its storage cannot be read.
    """
    refuse_taken(runs, spec.name)
    ran, _ = load_study(runs, spec.name)  # says what studies there are
    directory, url = layout.study_directory(runs, spec.name), storage_url(spec, runs)
    if redact(url) != redact(storage_url(ran, runs)):
        raise NotGrown(
            f"{spec.source}: storage is {redact(url)}, and study '{spec.name}' is in {redact(storage_url(ran, runs))}; "
            "it stays there. Undo the change"
        )
    with ExitStack() as stack:
        for folder in _driven_with(ran, runs, url):
            _lock(stack, folder, spec.name)
        refuse_copy(runs, spec.name, url)
        ran, study = load_study(runs, spec.name, url)
        stack.callback(close_storage, study._storage)
        if elsewhere := driver_elsewhere(study, directory):
            raise StudyLocked(
                f"study '{spec.name}' is being run from {elsewhere.get('folder')} on {elsewhere.get('host')}; grow it "
                "when that has ended (`hpo stop` ends it)"
            )
        yield Grown(spec, runs, url, study, _growth(spec, study, ran, was))


def _driven_with(ran: StudySpec, runs: Path, url: str) -> Iterator[Path]:
    """Yield the folders of the studies that nobody may drive meanwhile, the study's own first.

    In a journal they are all: the driver of another study knows by heart how far it has read the file.
    """
    own = layout.study_directory(runs, ran.name)
    yield own
    for name in sorted(layout.studies_in(runs)) if url.startswith(JOURNAL_SCHEME) else ():
        folder = layout.study_directory(runs, name)
        try:
            other = load_spec(folder / layout.SPEC, locate=False)
        except HpoError:
            continue
        if folder != own and storage_url(other, runs) == url:
            yield folder


def _lock(stack: ExitStack, folder: Path, name: str) -> None:
    try:
        stack.enter_context(driver_lock(folder))
    except StudyLocked as error:
        what = "it cannot grow" if folder.name == name else f"study '{name}' cannot grow, whose journal it shares"
        raise StudyLocked(
            f"{error}\nWhile study '{folder.name}' runs, {what}; `hpo stop {folder.name}` ends it"
        ) from None


def _growth(spec: StudySpec, study: optuna.Study, ran: StudySpec, was: Sequence[str]) -> Growth:
    recorded, trials = study.user_attrs.get(IDENTITY), study.get_trials(deepcopy=False)
    if recorded is None:
        raise NotGrown(f"study '{spec.name}' was not made by hpo, which knows nothing of its search space")
    before = values_before(spec, space_of(recorded, ran), was)
    growth = plan_growth(spec, recorded, ran, trials, before)
    if growth.refusals:
        listed = "\n".join(f"  {sentence}" for sentence in growth.refusals)
        raise NotGrown(f"{spec.source}: study '{spec.name}' cannot grow so; nothing was changed:\n{listed}")
    return growth


def save_before(grown: Grown, say: Say) -> Path:
    """Save the study as it is, and return the file, which `hpo restore --from` takes.

    Raises:
        NotRestored: it cannot be saved.
    """
    name = grown.spec.name
    target = grown.runs / layout.BACKUPS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6:06d}.tar"
    backup(grown.runs, [name], target, False, say, held=True)
    return target


def grow(grown: Grown) -> None:
    """Write all trials of a study in the new space, and the edited study.yaml into its folder.

    Without changes it does what a growth that was cut short has left undone.

    Raises:
        HpoError: the storage cannot be written; the study is as it was.
    """
    if grown.growth.changes:
        _rewrite(grown)
    ran = load_spec(grown.directory / layout.SPEC, locate=False)
    if identity.changes(json.loads(json.dumps(identity.to_json(ran.identity()))), grown.spec.identity()):
        spec = grown.spec.model_copy(update={"storage": grown.url}) if grown.spec.storage is not None else grown.spec
        record(effective(spec, read_steering(grown.directory)), grown.directory)


def _rewrite(grown: Grown) -> None:
    trials = grown.study.get_trials(deepcopy=False)
    own = json.loads(json.dumps(identity.to_json(grown.spec.identity())))
    rewriting = Rewriting(
        grown.study._study_id,
        own,
        grown.spec.space.distributions(),
        {trial._trial_id: grown.growth.trials[trial.number] for trial in trials},
    )
    if grown.url.startswith(JOURNAL_SCHEME):
        rewrite_journal(Path(grown.url.removeprefix(JOURNAL_SCHEME)), rewriting)
        return
    storage = open_storage(grown.url, keep=False)
    try:
        rewrite_database(storage, rewriting)
    finally:
        close_storage(storage)


def write_runs(runs: Path, name: str, say: Say) -> None:
    """Write the new parameters to the study's runs in MLflow, if it has any; nobody drives it by then."""
    from hpo.trackers.mlflow.place import read_place, sync_command
    from hpo.trackers.mlflow.sync import sync

    if read_place(layout.study_directory(runs, name)) is None:
        return
    try:
        sync(runs, name, lambda _: None)
    except HpoError as error:
        say(f"the runs of study '{name}' in MLflow are as before: {error}. `{sync_command(runs, name)}` writes them")
