"""Comparison of an edited study.yaml with the study as it ran: what changes, and what that means for its trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial

from hpo.analysis.formatting import label
from hpo.errors import NotGrown, SpecError
from hpo.space.carry import Carried, carry
from hpo.space.parameter import Parameter, same_choice
from hpo.space.search_space import SearchSpace
from hpo.spec import identity
from hpo.spec.models import StudySpec
from hpo.spec.population import is_population
from hpo.spec.racing import is_race
from hpo.spec.yaml_document import load_text
from hpo.storage.rewriting import FIXED, NewParams
from hpo.storage.trial_attributes import JOB, ORIGIN, configuration_of, continued_from
from hpo.text import count, listing, nearest, show

# What tells a search from another, but for its space; and why that cannot grow.
_REFUSED = {
    "metrics": "the trials were measured by the old ones",
    "objective": "the trials were trained by the old one",
    "constants": "the trials were trained with the old ones",
}
_MOST_TRIALS = 6


@dataclass(frozen=True)
class Growth:
    """A change of a search space, and what it makes of the trials.

    Attributes:
        changes: a sentence for each; empty if nothing has changed.
        refusals: a sentence for each that cannot be.
        trials: by number.
    """

    changes: tuple[str, ...]
    refusals: tuple[str, ...]
    trials: Mapping[int, NewParams] = field(default_factory=dict)


def plan_growth(
    spec: StudySpec, recorded: Any, ran: StudySpec, trials: Sequence[FrozenTrial], before: Mapping[str, Any]
) -> Growth:
    """Return what an edited study changes. Nothing is written.

    Args:
        spec: the edited study.
        recorded: the identity that its storage has.
        ran: the study as it ran.
        trials: all of it, in the order of their numbers.
        before: what the objective did before a parameter was searched: values by Optuna's names.
    """
    if not identity.changes(recorded, spec.identity()):
        return Growth((), ())
    refusals = [*_kinds(spec, ran), *_beside(recorded, spec)]
    old = space_of(recorded, ran)
    carried = {trial.number: _carried(trial, old, spec.space, before) for trial in trials}
    refusals += _of_trials(carried, spec.space, old)
    changes = tuple(_changes(old, spec.space, carried, before))
    if refusals:
        return Growth(changes, tuple(refusals))
    return Growth(
        changes,
        (),
        {trial.number: _new_params(trial, carried[trial.number], old, spec.space, before) for trial in trials},
    )


def space_of(recorded: Any, ran: StudySpec) -> SearchSpace:
    """Return the space in which the trials of a study are.

    Args:
        recorded: the identity that its storage has.
        ran: the study as its folder has it. It may be of after a growth, and the storage of before.
    """
    if not identity.changes(recorded, ran.identity()):
        return ran.space
    try:
        return SearchSpace.parse(identity.from_json(recorded)["search_space"])
    except (SpecError, KeyError, TypeError) as error:
        raise NotGrown(
            f"the search space that the storage has of study '{ran.name}' cannot be read ({error}); `hpo doctor "
            f"{ran.name}` says more"
        ) from error


def values_before(spec: StudySpec, ran: SearchSpace, given: Sequence[str]) -> dict[str, Any]:
    """Return what the objective did before parameters were searched, by Optuna's names.

    Args:
        spec: the edited study, whose parameters may say it (`was`).
        ran: the space in which the trials are.
        given: `NAME=VALUE` texts, which say it too, and count more.

    Raises:
        NotGrown: a text names no new parameter, or its value does not fit.
        SpecError: it is no YAML.
    """
    old = {parameter.full_name for parameter in ran.walk()}
    new = [parameter for parameter in spec.space.walk() if parameter.full_name not in old]
    found = {parameter.full_name: parameter.was[0] for parameter in new if parameter.was}
    for text in given:
        name, equals, written = (part.strip() for part in text.partition("="))
        if not equals or not name or not written:
            raise NotGrown(f"'{text}' names no value; expected NAME=VALUE, such as --was dropout=0.0")
        document = load_text(written, f"--was {name}")
        if document.problems:
            raise SpecError(document.problems)
        homes = [parameter for parameter in new if name in (parameter.name, parameter.full_name)]
        if not homes:
            raise NotGrown(_no_new(name, spec.space, new))
        for parameter in homes:
            try:
                found[parameter.full_name] = parameter.validate(document.data)
            except ValueError as error:
                raise NotGrown(
                    f"--was {name}: {error}. The old value must be one of the new range too: widen it, or leave the "
                    "old trials out with a study of its own (hpo run --new-name)"
                ) from None
    return found


def _no_new(name: str, space: SearchSpace, new: Sequence[Parameter]) -> str:
    if space.find(name):
        return f"--was {name}: it is not new, and each trial has its own value of it; leave it out"
    names = [parameter.full_name for parameter in new]
    expected = f"new are {listing(names)}" if names else "no parameter is new"
    return f"--was {name}: study.yaml has no such parameter; {expected}.{nearest(name, names)}"


# --- what cannot be


def _kinds(spec: StudySpec, ran: StudySpec) -> Iterator[str]:
    if is_race(ran) or is_race(spec):
        yield f"study '{spec.name}' is a confirmation, which trains what another study has found; let that one grow"
    elif is_population(ran) or is_population(spec):
        yield (
            f"study '{spec.name}' trains a population, whose members go on from each other; start a study of its own "
            f"with `hpo run --new-name {spec.name}-2`"
        )


def _beside(recorded: Any, spec: StudySpec) -> Iterator[str]:
    """Yield what has changed besides the search space."""
    same_space = {**spec.identity(), "search_space": identity.from_json(recorded)["search_space"]}
    for change in identity.changes(recorded, same_space):
        why = next(reason for key, reason in _REFUSED.items() if change.startswith(key))
        yield f"{change}: {why}, and cannot be compared with new ones; undo it, or `hpo run --new-name NAME`"


def _of_trials(carried: Mapping[int, Carried], new: SearchSpace, old: SearchSpace) -> Iterator[str]:
    """Yield what keeps trials from being trials of the new space."""
    parameters = {parameter.full_name: parameter for parameter in new.walk()}
    outside: dict[str, dict[int, Any]] = {}
    for number, one in carried.items():
        for name, value in one.outside:
            outside.setdefault(name, {})[number] = value
    for name, values in outside.items():
        shown = [f"{trial} with {label(value)}" for trial, value in values.items()]
        lie = "trial lies" if len(values) == 1 else "trials lie"
        yield (
            f"{name}: {len(values)} of {len(carried)} {lie} outside of {parameters[name].distribution} "
            f"({listing(shown, _MOST_TRIALS)}), and a study holds trials of its own space alone; keep a range that "
            "holds them, or search the smaller one in a study of its own (`hpo run --new-name NAME`), which begins "
            "with the best of this one"
        )
    missing = Counter(name for one in carried.values() for name in one.missing)
    for name, n in missing.items():
        yield (
            f"{name}: it is new, and {count(n, 'trial')} had none; say what their objective did: `--was "
            f"{parameters[name].name}=VALUE`, or `was: VALUE` beside its range in study.yaml"
        )
    gone = Counter(name for one in carried.values() for name in one.gone)
    for name, n in gone.items():
        fixed = next((one for one in old.walk() if one.name == name), None)
        yield (
            f"{name}: it is gone, and {count(n, 'trial')} had it"
            + (f" ({fixed.distribution})" if fixed else "")
            + "; what it did to them would be lost. Keep it"
        )


# --- what changes


def _changes(
    old: SearchSpace, new: SearchSpace, carried: Mapping[int, Carried], before: Mapping[str, Any]
) -> Iterator[str]:
    were = {parameter.full_name: parameter for parameter in old.walk()}
    now = {parameter.full_name: parameter for parameter in new.walk()}
    added = Counter(name for one in carried.values() for name in one.added)
    outside = {name for one in carried.values() for name, _ in one.outside}
    for name, parameter in now.items():
        if name in were:
            inside = "" if name in outside else ", where all trials so far lie"
            yield from (f"{name}: {said}" for said in _differences(were[name], parameter, inside))
            continue
        where = f" where {parameter.condition_text}" if parameter.condition else ""
        said = f"{name}: added, {parameter.distribution}{where}"
        n = added[name]
        yield f"{said}; {count(n, 'trial')} so far had {show(before[name])}" if n else said
    for name, parameter in were.items():
        if name not in now:
            yield f"{name}: gone, was {parameter.distribution}"
    if list(were) != list(now) and sorted(were) == sorted(now):
        yield "the order of the parameters"


def _differences(old: Parameter, new: Parameter, inside: str) -> Iterator[str]:
    numeric = ("int", "float")
    if old.kind in numeric and new.kind in numeric:
        yield from _of_ranges(old, new, inside)
    elif old.kind == new.kind and old.kind in ("categorical", "simplex"):
        what = "choice" if old.kind == "categorical" else "weight"
        more = [one for one in new.choices if not any(same_choice(one, known) for known in old.choices)]
        less = [one for one in old.choices if not any(same_choice(one, known) for known in new.choices)]
        if more:
            zero = ", 0 in all trials so far" if what == "weight" else ""
            yield f"{what if len(more) == 1 else what + 's'} {listing(map(show, more))} added{zero}"
        if less:
            yield f"{what if len(less) == 1 else what + 's'} {listing(map(show, less))} left out"
        if not more and not less and list(map(repr, old.choices)) != list(map(repr, new.choices)):
            yield f"its {what}s are in another order or form: {new.distribution}"
    elif old.kind != new.kind or repr(old.value) != repr(new.value):
        yield f"was {old.distribution}, is {new.distribution}"
    if old.structural != new.structural:
        yield "counts as structural now" if new.structural else "is not structural any more"


def _of_ranges(old: Parameter, new: Parameter, inside: str) -> Iterator[str]:
    if (old.low, old.high) != (new.low, new.high):
        wider = new.low <= old.low and new.high >= old.high
        narrower = new.low >= old.low and new.high <= old.high
        word = "widened" if wider else "narrowed" if narrower else "moved"
        yield f"{word} from ({old.distribution}) to ({new.distribution}){'' if wider else inside}"
    elif (old.kind, old.step, old.log) != (new.kind, new.step, new.log):
        yield f"searched as {_form(new)}, was {_form(old)}"


def _form(parameter: Parameter) -> str:
    kind = "integers" if parameter.kind == "int" else "any number"
    return f"{parameter.distribution} ({kind})"


# --- the trials in the new space


def _carried(trial: FrozenTrial, old: SearchSpace, new: SearchSpace, before: Mapping[str, Any]) -> Carried:
    carried = carry(trial.params, old, new, before)
    if trial.params and old.cell_of(trial.params) is not None:
        return carried
    # It waits, or never had all of its parameters: what it lacks is no loss.
    known = carry(configuration_of(trial), old, new, before)
    return Carried(carried.params if trial.params else {}, known.outside, gone=known.gone if trial.params else [])


def _new_params(
    trial: FrozenTrial, carried: Carried, old: SearchSpace, new: SearchSpace, before: Mapping[str, Any]
) -> NewParams:
    noted = isinstance(trial.user_attrs.get(JOB), dict) and bool(trial.params)
    fixed = trial.system_attrs.get(FIXED)
    if fixed is not None:
        # What goes on from another trial is as that was. Of others the sampler chooses what is not given.
        goes_on = trial.user_attrs.get(ORIGIN, {}).get("retry_of") is not None or continued_from(trial.user_attrs)
        fixed = carry(fixed, old, new, before if goes_on else {}, partly=not goes_on).params
    return NewParams(carried.params, new.resolve(carried.params) if noted else None, fixed)
