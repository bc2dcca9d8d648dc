"""Red flags of study.yaml: the built-in rules, their options, and how a rule is read and written.

What a rule asks of a trial is in `hpo.red_flags.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from hpo.errors import KeyPath
from hpo.red_flags.condition import Condition, parse_condition
from hpo.text import listing, nearest, quote
from hpo.translation.catalogue import mark, tr
from hpo.validation import problems_in

# --- kinds of values, and what a message says is expected

_Text = Annotated[str, Field(min_length=1)]
_Texts = _Text | Annotated[list[_Text], Field(min_length=1)]
_Epoch = Annotated[int, Field(strict=True, ge=0)]
NUMBER = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False, description="a number above 0")]
COUNT = Annotated[int, Field(strict=True, ge=1, description="a whole number of at least 1")]
METRIC = Annotated[_Text, Field(description="the name of a metric")]
METRICS = Annotated[_Texts, Field(description="the name of a metric, or a list of names")]
EPOCH = Annotated[_Epoch | _Text, Field(description="an epoch, or the name of a parameter or constant that holds one")]


@dataclass(frozen=True)
class Option:
    """An option of a built-in rule.

    Attributes:
        kind: the type of its value, one of those above.
        default: its value if it is not given; None: the rule's `meaning` says what it does then.
    """

    kind: Any
    default: Any = None


@dataclass(frozen=True)
class BuiltIn:
    """A rule that hpo knows by name.

    Attributes:
        meaning: when the flag is raised, with its options as `{option}`.
        options: its options by name.
        from_epoch: its default of that key.
        for_epochs: its default of that key.
        needs: options of which at least one must be given.
    """

    meaning: str
    options: Mapping[str, Option] = field(default_factory=dict)
    from_epoch: int = 0
    for_epochs: int = 1
    needs: tuple[str, ...] = ()


BUILT_IN: dict[str, BuiltIn] = {
    "non_finite": BuiltIn(
        mark("{metrics} is NaN or infinite"),
        {"metrics": Option(METRICS)},
    ),
    "collapsed": BuiltIn(
        mark(
            "one class is predicted only ({metrics} is 0, or predicted_positive 0 or 1), and no metric of the ranking "
            "such as auc is more than {margin} above chance or rising"
        ),
        {"metrics": Option(METRICS), "margin": Option(NUMBER, 0.15)},
        from_epoch=4,
        for_epochs=2,
    ),
    "rising": BuiltIn(
        mark("{metric} rose in each of the last {epochs} epochs, in all by more than twice its noise"),
        {"metric": Option(METRIC, "val_loss"), "epochs": Option(COUNT, 3)},
    ),
    "no_improvement": BuiltIn(
        mark("{metric} has in no epoch been better than in the first by more than its noise"),
        {"metric": Option(METRIC)},
        from_epoch=8,
    ),
    "exploding_gradient": BuiltIn(
        mark("{metric} is above {above}, or no number"),
        {"metric": Option(METRIC, "gradient_norm"), "above": Option(NUMBER, 1e4)},
        for_epochs=2,
    ),
    "vanishing_gradient": BuiltIn(
        mark("{metric} is below {below}"),
        {"metric": Option(METRIC, "gradient_norm"), "below": Option(NUMBER, 1e-7)},
        for_epochs=3,
    ),
    "dominating_component": BuiltIn(
        mark("one of the components of the loss ({components}) is, weighted, {ratio} times the mean of the others"),
        {"ratio": Option(NUMBER, 1000), "components": Option(METRICS)},
        from_epoch=2,
        for_epochs=2,
    ),
    "overfitting": BuiltIn(
        mark("{metric} rose clearly above its lowest level while {train} did not"),
        {"metric": Option(METRIC, "val_loss"), "train": Option(METRIC, "train_loss")},
        from_epoch=8,
    ),
    "inert_ghm": BuiltIn(
        mark("more than {share} of the gradient norms are in one bin ({metric}), so that GHM weights all alike"),
        {"metric": Option(METRIC, "train_ghm_inert"), "share": Option(NUMBER, 0.9)},
        for_epochs=3,
    ),
    "too_slow": BuiltIn(
        mark("the trial takes more than {seconds} s, or an epoch more than {epoch_seconds} s"),
        {"seconds": Option(NUMBER), "epoch_seconds": Option(NUMBER)},
        needs=("seconds", "epoch_seconds"),
    ),
    "too_much_memory": BuiltIn(
        mark("the trial's process holds more than {gib} GiB, or more than {gpu} of its GPU's memory"),
        {"gib": Option(NUMBER), "gpu": Option(NUMBER)},
        needs=("gib", "gpu"),
    ),
    "diverged_after_unfreezing": BuiltIn(
        mark("{metric} rose in each of {epochs} epochs after {at}, above where it was before"),
        {"metric": Option(METRIC, "val_loss"), "epochs": Option(COUNT, 3), "at": Option(EPOCH, "unfreeze_epoch")},
    ),
}  # fmt: skip
# These words take the place of an option that is left out.
_STANDS_FOR = {
    ("non_finite", "metrics"): mark("a loss, or the first metric,"),
    ("collapsed", "metrics"): mark("the recall, F1 or overlap of validation"),
    ("no_improvement", "metric"): mark("the first metric"),
    ("dominating_component", "components"): mark("what is reported as a loss"),
}


@dataclass(frozen=True)
class RedFlag:
    """A rule of a study: a built-in one or a condition.

    Attributes:
        name: its name in the study.
        rule: the name of the built-in rule, empty for a condition.
        when: the text of the condition, empty for a built-in rule.
        options: those options of the built-in rule that are given.
        from_epoch: the first epoch in which it is asked, counted from the latest of `after`.
        after: parameters or constants that hold an epoch.
        for_epochs: epochs in a row in which it must hold.
        action: `stop` ends the trial, `warn` only says so.
    """

    name: str
    rule: str = ""
    when: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    from_epoch: int = 0
    after: tuple[str, ...] = ()
    for_epochs: int = 1
    action: str = "stop"

    def data(self) -> str | dict[str, Any]:
        """Return the rule as study.yaml says it, without what is there by default."""
        usual = BUILT_IN[self.rule] if self.rule else BuiltIn("")
        written: dict[str, Any] = {"name": self.name}
        if self.rule and self.rule != self.name:
            written["rule"] = self.rule
        if self.when:
            written["when"] = self.when
        written |= self.options
        if self.from_epoch != usual.from_epoch:
            written["from_epoch"] = self.from_epoch
        if self.after:
            written["after"] = list(self.after)
        if self.for_epochs != usual.for_epochs:
            written["for_epochs"] = self.for_epochs
        if self.action != "stop":
            written["action"] = self.action
        return self.name if self.rule and len(written) == 1 else written

    def option(self, name: str) -> Any:
        """Return the value of an option: the one given, else the default."""
        return self.options.get(name, BUILT_IN[self.rule].options[name].default)

    def condition(self) -> Condition:
        """Return the condition that `when` says."""
        return parse_condition(self.when)

    @property
    def meaning(self) -> str:
        """A sentence that says when it is raised."""
        if self.when:
            return self.when
        built_in = BUILT_IN[self.rule]
        if built_in.needs:
            return self._limits()
        return tr(built_in.meaning, **{name: self._shown(name) for name in built_in.options})

    def _limits(self) -> str:
        """Return in words the limits that were given."""
        said = (
            ("seconds", mark("the trial takes more than {limit} s")),
            ("epoch_seconds", mark("an epoch takes more than {limit} s")),
            ("gib", mark("the trial's process holds more than {limit} GiB")),
            ("gpu", mark("the trial holds more than {limit} of its GPU's memory")),
        )
        return tr(" or ").join(tr(words, limit=self._shown(name)) for name, words in said if name in self.options)

    def _shown(self, name: str) -> str:
        value = self.option(name)
        if value is None:
            stands_for = _STANDS_FOR.get((self.rule, name))
            return tr(stands_for) if stands_for else ""
        if isinstance(value, (list, tuple)):
            return tr(" or ").join(map(str, value))
        return f"{value:g}" if isinstance(value, float) else str(value)

    @property
    def words(self) -> str:
        """The whole rule: when it is raised, from when on, how often, and what it does."""
        parts = [self.meaning]
        if self.after:
            names = tr(" and ").join(self.after)
            parts.append(tr("from epoch {epoch} after {names} on", epoch=self.from_epoch, names=names))
        elif self.from_epoch > 0:
            parts.append(tr("from epoch {epoch} on", epoch=self.from_epoch))
        if self.for_epochs > 1:
            parts.append(tr("{count} epochs in a row", count=self.for_epochs))
        does = tr("warns only") if self.action == "warn" else tr("stops the trial")
        return tr("{rule}: {action}", rule=tr(", ").join(parts), action=does)


def names_in(given: Any) -> list[str]:
    """Return one name, a list of names, or None as a list."""
    return [given] if isinstance(given, str) else list(given or ())


DEFAULT = (RedFlag("non_finite", "non_finite"),)


# --- reading

Name = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="letters, digits, '.', '_' and '-', a letter or digit first",
    ),
]


class _Entry(BaseModel):
    """Keys that every red flag may have.

    Attributes:
        name: the flag's; no two of a study are the same.
        rule: a built-in rule; by default the one called `name`.
        when: a condition, in place of a rule.
        from_epoch: the first epoch that the rule looks at, as the trial counts them.
        after: parameters or constants that hold an epoch, such as `warmup_epochs`: `from_epoch` counts from the latest
            of them.
        for_epochs: epochs in a row in which it must hold.
        action: `stop` ends the trial, `warn` only says so.
    """

    model_config = ConfigDict(extra="forbid", title="this red flag")

    name: Name
    rule: str = ""
    when: str = ""
    from_epoch: Annotated[_Epoch, Field(description="a whole number of at least 0")] = 0
    after: Annotated[_Texts, Field(description="the name of a parameter, or a list of names")] = ""
    for_epochs: COUNT = 1
    action: Literal["stop", "warn"] = "stop"


class _UnknownRule(_Entry):
    """A red flag of which nobody can say what options it has."""

    model_config = ConfigDict(extra="allow")


def _checked(when: str) -> str:
    parse_condition(when)
    return when


class ConditionEntry(_Entry):
    """A red flag that a condition raises."""

    when: Annotated[str, Field(description="a condition, such as train_recall == 0"), AfterValidator(_checked)]


@cache
def model_of(rule: str) -> type[_Entry]:
    """Return the model of an entry that names a built-in rule."""
    options: dict[str, Any] = {key: (option.kind, None) for key, option in BUILT_IN[rule].options.items()}
    return create_model(rule, __base__=_Entry, **options)


def read_flags(written: Any) -> tuple[tuple[RedFlag, ...], list[tuple[KeyPath, str]]]:
    """Return the rules of a `red_flags`, and a (path, sentence) pair for each mistake in it."""
    if not isinstance(written, list):
        return (), [((), f"{quote(written)} is not a list; expected [non_finite, {{name: ..., when: ...}}]")]
    flags: dict[str, RedFlag] = {}
    problems: list[tuple[KeyPath, str]] = []
    for index, entry in enumerate(written):
        found = _problems(entry)
        if not found:
            flag = _flag(entry)
            if flag.name in flags:
                found = [((), f"a red flag '{flag.name}' is given twice; give one of them another name")]
            flags[flag.name] = flag
        problems += [((index, *path), message) for path, message in found]
    return tuple(flags.values()), problems


def _problems(entry: Any) -> list[tuple[KeyPath, str]]:
    if not isinstance(entry, (str, Mapping)):
        return [((), f"{quote(entry)} is not a red flag; expected the name of a rule, or {{name: ..., when: ...}}")]
    given = _given(entry)
    if "when" in given and "rule" in given:
        return [(("when",), "when and rule are both given; keep one of them")]
    key = "rule" if "rule" in given else "name"
    rule = given.get(key)
    known = isinstance(rule, str) and rule in BUILT_IN
    model = ConditionEntry if "when" in given else model_of(str(rule)) if known else _UnknownRule
    problems: dict[KeyPath, str] = {}
    try:
        model.model_validate(given)
    except ValidationError as error:
        problems = dict(problems_in(error, model))
    if model is _UnknownRule and rule is not None:
        expected = f"expected {listing(BUILT_IN, 20)}, or a condition (when: ...)"
        problems[(key,)] = f"{quote(rule)} is not a built-in rule; {expected}.{nearest(rule, BUILT_IN)}"
    needs = () if model in (ConditionEntry, _UnknownRule) else BUILT_IN[str(rule)].needs
    if needs and not any(name in given for name in needs):
        problems[()] = f"the rule '{rule}' has no limit; expected {' or '.join(needs)}"
    return list(problems.items())


def _given(entry: str | Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the keys of an entry; `rule` and `when` with nothing after them are left out."""
    written = {"name": entry} if isinstance(entry, str) else dict(entry)
    return {key: value for key, value in written.items() if value is not None or key not in ("name", "rule", "when")}


def _flag(entry: Any) -> RedFlag:
    given = _given(entry)
    when = given.get("when", "")
    rule = "" if when else given.get("rule", given["name"])
    usual = BUILT_IN[rule] if rule else BuiltIn("")
    return RedFlag(
        name=given["name"],
        rule=rule,
        when=when,
        options={key: value for key, value in given.items() if key not in _Entry.model_fields},
        from_epoch=given.get("from_epoch", usual.from_epoch),
        after=tuple(names_in(given.get("after"))),
        for_epochs=given.get("for_epochs", usual.for_epochs),
        action=given.get("action", "stop"),
    )
