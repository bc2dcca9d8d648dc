"""Import of a source's trials into a study, from its study.yaml, which is written if it is not there, to its books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from hpo.curves.metric_names import direction_by_name
from hpo.errors import TransferError
from hpo.machine.files import write_atomically
from hpo.spec.load import load_spec
from hpo.spec.models import Metric, StudySpec
from hpo.text import count, listing, nearest
from hpo.transfer.bring_in import bring_in
from hpo.transfer.fit import Fit, FittedTrial, filled, fit, study_names
from hpo.transfer.folder import prepared
from hpo.transfer.infer import study_text
from hpo.transfer.source import COMPLETE, FAIL, PRUNED, Source, plain_study_name
from hpo.transfer.table_source import Reading


@dataclass(frozen=True)
class Wanted:
    """Wishes of a user about an import.

    Attributes:
        study: The study.yaml, which is written if it is not there; None: one named after the study.
        name: Another name for the study; empty: that of the YAML, else of the source.
        metrics: Metrics as `NAME` or `NAME:minimize`.
        names: The study's names of what the source calls otherwise.
        fill: Values of parameters that trials lack, as texts.
        ignored: Patterns of parameters that are passed over.
        leave_out: Import the trials that fit, and leave the others out.
        reading: How a table is to be read.
    """

    study: Path | None = None
    name: str = ""
    metrics: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    fill: Mapping[str, str] = field(default_factory=dict)
    ignored: Sequence[str] = ()
    leave_out: bool = False
    reading: Reading = field(default_factory=Reading)


@dataclass(frozen=True)
class Result:
    """Result of an import.

    Attributes:
        study: Name of the study.
        yaml: Its study.yaml.
        written: Whether that was written now.
        new: Trials that are new.
        known: Trials that were there already.
        states: Numbers of all of them by state.
        left_out: Trials that do not fit.
        notes: Sentences on what was passed over or changed.
    """

    study: str
    yaml: Path
    written: bool
    new: int
    known: int
    states: Mapping[str, int]
    left_out: int
    notes: tuple[str, ...]


def import_trials(
    read: Callable[[Reading], Source],
    called: str | None,
    wanted: Wanted,
    runs: Path,
    command: str,
    say: Callable[[str], None],
) -> Result:
    """Import the finished trials of a source into a study.

    Args:
        read: Reads the source.
        called: What the source is called, where that is known before it is read.
        wanted: What the user has said.
        runs: The runs folder.
        command: The command, for the comment in a YAML that is written.
        say: Gets sentences for the user.

    Raises:
        TransferError: The source cannot be read, or trials do not fit the study.
        SpecError: The YAML is wrong.
        HpoError: The study cannot be written.
    """
    reading = replace(wanted.reading, metrics=[name for name, _ in map(_metric_words, wanted.metrics)])
    source = None
    if called is None:
        source = read(reading)
        called = source.name
    path = wanted.study or Path(f"{plain_study_name(wanted.name or called)}.yaml")
    written = not path.exists()
    if not written:
        if wanted.study is None:
            say(f"{path} is there, and is taken as the study (--study FILE names another)")
        spec = _load(path, wanted.name)
        source = read(_by_spec(reading, spec, wanted.names)) if source is None else source
    else:
        source = source or read(reading)
        source = _without(source, wanted.ignored)
        _require_trials(source)
        name = plain_study_name(wanted.name or source.name)
        metrics = [] if source.study_yaml else _metrics(source, wanted.metrics)
        text = study_text(source, name, metrics, wanted.names, command)
        with prepared(path.absolute().parent):
            write_atomically(path, text)
        spec = _load(path, "")
        say(f"{path} is written; look at what is marked with DECIDE before `hpo run`")
    _require_trials(source)
    _require_goals(source, spec, wanted.metrics)
    names = study_names(source, spec, wanted.names)
    found = fit(filled(source, wanted.fill, spec.space), spec, names, wanted.ignored)
    if found.misfits and not (wanted.leave_out and found.fitted):
        raise TransferError(_misfits(source, spec, found, path))
    done = bring_in(source, found.fitted, spec, runs, say)
    notes = (*source.notes, *map(str, found.misfits), *found.notes)
    return Result(spec.name, path, written, done.new, done.known, _states(found.fitted), found.left_out, notes)


def _load(path: Path, name: str) -> StudySpec:
    return load_spec(path, [f"name={name}"] if name else [], locate=False)


def _by_spec(reading: Reading, spec: StudySpec, names: Mapping[str, str]) -> Reading:
    """Return how a table is read of which the study is known."""
    known = {one for parameter in spec.space.walk() for one in (parameter.name, parameter.full_name)}
    metrics = {metric.name for metric in spec.metrics}
    known |= {column for column, name in names.items() if name in known}
    metrics |= {column for column, name in names.items() if name in metrics}
    return replace(reading, known=known, metrics=[*reading.metrics, *metrics])


def _without(source: Source, ignored: Sequence[str]) -> Source:
    trials = tuple(
        replace(
            trial,
            params={
                name: value
                for name, value in trial.params.items()
                if not any(fnmatchcase(name, pattern) for pattern in ignored)
            },
        )
        for trial in source.trials
    )
    return replace(source, trials=trials)


def _require_trials(source: Source) -> None:
    if not source.trials:
        why = f" ({'; '.join(source.notes)})" if source.notes else ""
        raise TransferError(f"{source.name} in {source.place} has no finished trial{why}")


# --- metrics


def _metric_words(given: str) -> tuple[str, str]:
    """Return name and direction of `val_loss:minimize`; the direction is empty where it is not said."""
    name, colon, direction = given.rpartition(":")
    return (name, direction) if colon and direction in ("minimize", "maximize") else (given, "")


def _metrics(source: Source, given: Sequence[str]) -> list[Metric]:
    """Return the metrics of a study that is to be written.

    Raises:
        TransferError: They are not known, or the source does not have them.
    """
    named = [_metric_words(one) for one in given]
    if source.directions:
        named = named or [(name, "") for name in source.metrics]
        if len(named) != len(source.directions):
            raise TransferError(
                f"{source.name} optimizes {count(len(source.directions), 'metric')}, and --metric names {len(named)}"
            )
        for (name, direction), own in zip(named, source.directions, strict=True):
            if direction not in ("", own):
                raise TransferError(f"--metric {name}:{direction}: {source.name} says {own}")
        return [Metric(name=name, direction=own) for (name, _), own in zip(named, source.directions, strict=True)]
    known = source.metric_names
    if not named:
        raise TransferError(
            f"{source.name} does not say which metric is optimized; expected --metric NAME:minimize or "
            f"--metric NAME:maximize, with one of {listing(known, 20) or 'its metrics, of which it has none'}"
        )
    found = []
    for name, direction in named:
        if name not in known:
            raise TransferError(
                f"{source.name} has no metric '{name}'; it has {listing(known, 20) or 'none'}.{nearest(name, known)}"
            )
        direction = direction or direction_by_name(name)
        if not direction:
            raise TransferError(
                f"the name '{name}' does not say whether more or less of it is better; expected --metric "
                f"{name}:maximize or --metric {name}:minimize"
            )
        found.append(Metric(name=name, direction=direction))
    return found


def _require_goals(source: Source, spec: StudySpec, given: Sequence[str]) -> None:
    """Refuse trials that were after other metrics, or in other directions, than the study."""
    own = [(metric.name, metric.direction) for metric in spec.metrics]
    after = listing(f"{direction} {name}" for name, direction in own)
    if source.directions and list(source.directions) != [direction for _, direction in own]:
        theirs = listing(f"{way} {name}" for name, way in zip(source.metrics, source.directions, strict=True))
        raise TransferError(
            f"study '{spec.name}' is to {after}, and {source.name} was to {theirs}: they do not compare"
        )
    for name, direction in map(_metric_words, given):
        if all(name != one or direction not in ("", way) for one, way in own):
            raise TransferError(
                f"--metric {name}{':' if direction else ''}{direction}: study '{spec.name}' is to {after}, as its YAML "
                "says (--rename A=B says what the source calls otherwise)"
            )


# --- what is said


def _misfits(source: Source, spec: StudySpec, found: Fit, path: Path) -> str:
    listed = "\n".join(f"  {misfit}" for misfit in found.misfits[:20])
    more = f"\n  and {len(found.misfits) - 20} more reasons" if len(found.misfits) > 20 else ""
    how = f"Once trials are in the study, its search_space can no longer change, so edit {path} first"
    others = f", or import the {count(len(found.fitted), 'other trial')} with --leave-out" if found.fitted else ""
    return (
        f"{found.left_out} of {count(len(source.trials), 'trial')} of {source.name} do not fit study '{spec.name}', "
        f"and nothing was imported:\n{listed}{more}\n{how}{others}."
    )


def _states(fitted: Sequence[FittedTrial]) -> dict[str, int]:
    counted = Counter(one.state for one in fitted)
    return {state: counted[state] for state in (COMPLETE, PRUNED, FAIL)}
