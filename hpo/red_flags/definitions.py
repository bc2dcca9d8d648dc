"""`red_flags` of study.yaml: which rules there are, what may be set of each, and what is wrong with what was written.
What a rule asks of a trial is in `hpo.red_flags.rules`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hpo.red_flags.condition import Expression
from hpo.red_flags.condition_parser import ExpressionError, compile_expression
from hpo.text import listing, nearest, quote, show
from hpo.translation.catalogue import mark, tr

# number: above 0. count: a whole number of at least 1. metric: a name. metrics: one name, or a list of them.
# place: an epoch, or the name of a parameter or constant that holds one.
Kind = Literal["number", "count", "metric", "metrics", "place"]
_WANTED = {
    "number": "a number above 0",
    "count": "a whole number of at least 1",
    "metric": "the name of a metric",
    "metrics": "the name of a metric, or a list of names",
    "place": "an epoch, or the name of a parameter or constant that holds one",
}


@dataclass(frozen=True)
class Option:
    """`default` None: what the rule does then is in its meaning."""

    kind: Kind
    default: Any = None


@dataclass(frozen=True)
class BuiltIn:
    """meaning: when the flag is raised, with its options as `{option}`. from_epoch, for_epochs: its own defaults.
    needs: the options of which one must be given."""

    meaning: str
    options: Mapping[str, Option] = field(default_factory=dict)
    from_epoch: int = 0
    for_epochs: int = 1
    needs: tuple[str, ...] = ()


BUILT_IN: dict[str, BuiltIn] = {
    "non_finite": BuiltIn(
        mark("{metrics} is NaN or infinite"),
        {"metrics": Option("metrics")},
    ),
    "collapsed": BuiltIn(
        mark(
            "one class is predicted only ({metrics} is 0, or predicted_positive 0 or 1), and no metric such as auc is "
            "more than {margin} above chance"
        ),
        {"metrics": Option("metrics"), "margin": Option("number", 0.15)},
        from_epoch=4,
        for_epochs=2,
    ),
    "rising": BuiltIn(
        mark("{metric} rose in each of the last {epochs} epochs, in all by more than twice its noise"),
        {"metric": Option("metric", "val_loss"), "epochs": Option("count", 3)},
    ),
    "no_improvement": BuiltIn(
        mark("{metric} has in no epoch been better than in the first by more than its noise"),
        {"metric": Option("metric")},
        from_epoch=8,
    ),
    "exploding_gradient": BuiltIn(
        mark("{metric} is above {above}, or no number"),
        {"metric": Option("metric", "gradient_norm"), "above": Option("number", 1e4)},
        for_epochs=2,
    ),
    "vanishing_gradient": BuiltIn(
        mark("{metric} is below {below}"),
        {"metric": Option("metric", "gradient_norm"), "below": Option("number", 1e-7)},
        for_epochs=3,
    ),
    "dominating_component": BuiltIn(
        mark("one of the components of the loss ({components}) is, weighted, {ratio} times the mean of the others"),
        {"ratio": Option("number", 1000), "components": Option("metrics")},
        from_epoch=2,
        for_epochs=2,
    ),
    "overfitting": BuiltIn(
        mark("{metric} rose clearly above its lowest level while {train} did not"),
        {"metric": Option("metric", "val_loss"), "train": Option("metric", "train_loss")},
        from_epoch=8,
    ),
    "inert_ghm": BuiltIn(
        mark("more than {share} of the gradient norms are in one bin ({metric}), so that GHM weights all alike"),
        {"metric": Option("metric", "train_ghm_inert"), "share": Option("number", 0.9)},
        for_epochs=3,
    ),
    "too_slow": BuiltIn(
        mark("the trial takes more than {seconds} s, or an epoch more than {epoch_seconds} s"),
        {"seconds": Option("number"), "epoch_seconds": Option("number")},
        needs=("seconds", "epoch_seconds"),
    ),
    "too_much_memory": BuiltIn(
        mark("the trial's process holds more than {gib} GiB, or more than {gpu} of its GPU's memory"),
        {"gib": Option("number"), "gpu": Option("number")},
        needs=("gib", "gpu"),
    ),
    "diverged_after_unfreezing": BuiltIn(
        mark("{metric} rose in each of {epochs} epochs after {at}, above where it was before"),
        {"metric": Option("metric", "val_loss"), "epochs": Option("count", 3), "at": Option("place", "unfreeze_epoch")},
    ),
}  # fmt: skip
# What an option that is left out stands for.
_STANDS_FOR = {
    ("non_finite", "metrics"): mark("a loss, or the first metric,"),
    ("collapsed", "metrics"): mark("the recall of validation"),
    ("no_improvement", "metric"): mark("the first metric"),
    ("dominating_component", "components"): mark("what is reported as a loss"),
}
COMMON = ("name", "rule", "when", "from_epoch", "after", "for_epochs", "action")
ACTIONS = ("stop", "warn")
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


@dataclass(frozen=True)
class RedFlag:
    """A rule of a study, built in (`rule`) or a condition (`when`), the other is empty. options: of the built-in rule,
    those given. from_epoch: the first epoch it looks at, counted from the latest of `after`: parameters or constants
    that hold an epoch. for_epochs: reports in a row in which it must hold. action: stop ends the trial, warn only says
    so."""

    name: str
    rule: str = ""
    when: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    from_epoch: int = 0
    after: tuple[str, ...] = ()
    for_epochs: int = 1
    action: str = "stop"

    def data(self) -> str | dict[str, Any]:
        """As study.yaml says it, what is by default left out."""
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
        """As given, else the default."""
        return self.options.get(name, BUILT_IN[self.rule].options[name].default)

    def condition(self) -> Expression:
        return compile_expression(self.when)

    @property
    def meaning(self) -> str:
        """When it is raised, in words."""
        if self.when:
            return self.when
        built_in = BUILT_IN[self.rule]
        if built_in.needs:
            return self._limits()
        return tr(built_in.meaning, **{name: self._shown(name) for name in built_in.options})

    def _limits(self) -> str:
        """Of a rule with limits, those that were given."""
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
        """The whole rule: when it is raised, from when on and how often, and what it does."""
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
    """One name, a list of them, or none, as a list."""
    return [given] if isinstance(given, str) else list(given or ())


DEFAULT = (RedFlag("non_finite", "non_finite"),)


def read_flags(written: Any) -> tuple[tuple[RedFlag, ...], list[tuple[tuple[Any, ...], str]]]:
    """The rules of a `red_flags`, and what is wrong with it: where in it, and the sentence."""
    if not isinstance(written, list):
        return (), [((), f"{quote(written)} is not a list; expected [non_finite, {{name: ..., when: ...}}]")]
    flags: list[RedFlag] = []
    problems: list[tuple[tuple[Any, ...], str]] = []
    names: set[str] = set()
    for index, entry in enumerate(written):
        found = [((index, *path), message) for path, message in _wrong(entry)]
        if not found:
            flag = _flag(entry)
            if flag.name in names:
                found = [((index,), f"a red flag '{flag.name}' is given twice; give one of them another name")]
            names.add(flag.name)
            flags.append(flag)
        problems += found
    return tuple(flags), problems


def _flag(entry: Any) -> RedFlag:
    given: dict[str, Any] = {"name": entry} if isinstance(entry, str) else dict(entry)
    when = given.get("when", "")
    rule = "" if when else given.get("rule", given["name"])
    usual = BUILT_IN[rule] if rule else BuiltIn("")
    return RedFlag(
        name=given["name"],
        rule=rule,
        when=when,
        options={key: value for key, value in given.items() if key not in COMMON},
        from_epoch=given.get("from_epoch", usual.from_epoch),
        after=tuple(names_in(given.get("after"))),
        for_epochs=given.get("for_epochs", usual.for_epochs),
        action=given.get("action", "stop"),
    )


def _wrong(entry: Any) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(entry, str):
        entry = {"name": entry}
    elif not isinstance(entry, Mapping):
        yield (), f"{quote(entry)} is not a red flag; expected the name of a rule, or {{name: ..., when: ...}}"
        return
    name, rule, when = entry.get("name"), entry.get("rule"), entry.get("when")
    if name is None:
        yield (), "has no name; expected one, such as {name: collapsed}"
    elif not isinstance(name, str) or not re.match(NAME, name):
        expected = "expected letters, digits, '.', '_' and '-', a letter or digit first"
        yield ("name",), f"{quote(name)} is not right; {expected}"
    if when is not None and rule is not None:
        yield ("when",), "when and rule are both given; keep one of them"
        return
    if when is not None:
        yield from _wrong_condition(when)
        yield from _unknown(entry, {})
    else:
        given = rule if rule is not None else name
        if not isinstance(given, str) or given not in BUILT_IN:
            if given is not None:
                where = "rule" if rule is not None else "name"
                expected = f"expected {listing(BUILT_IN, 20)}, or a condition (when: ...)"
                yield (where,), f"{quote(given)} is not a built-in rule; {expected}.{nearest(given, BUILT_IN)}"
        else:
            yield from _wrong_options(entry, given)
    yield from _wrong_common(entry)


def _wrong_condition(when: Any) -> Iterator[tuple[tuple[Any, ...], str]]:
    if not isinstance(when, str):
        yield ("when",), f"{quote(when)} is not a condition; expected text, such as train_recall == 0"
        return
    try:
        compile_expression(when)
    except ExpressionError as error:
        yield ("when",), str(error)


def _wrong_options(entry: Mapping[Any, Any], rule: str) -> Iterator[tuple[tuple[Any, ...], str]]:
    options = BUILT_IN[rule].options
    yield from _unknown(entry, options)
    for name, option in options.items():
        if name in entry and not _fits(option.kind, entry[name]):
            yield (name,), f"{quote(entry[name])} is not right; expected {_WANTED[option.kind]}"
    needs = BUILT_IN[rule].needs
    if needs and not any(name in entry for name in needs):
        yield (), f"the rule '{rule}' has no limit; expected {' or '.join(needs)}"


def _unknown(entry: Mapping[Any, Any], options: Mapping[str, Option]) -> Iterator[tuple[tuple[Any, ...], str]]:
    known = [*COMMON, *options]
    for key in entry:
        if key not in known:
            yield (key,), f"is not a key of this red flag; expected {listing(known)}.{nearest(key, known)}"


def _wrong_common(entry: Mapping[Any, Any]) -> Iterator[tuple[tuple[Any, ...], str]]:
    for key, least in (("from_epoch", 0), ("for_epochs", 1)):
        value = entry.get(key, least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield (key,), f"{show(value)} is not right; expected a whole number of at least {least}"
    if "after" in entry and not _fits("metrics", entry["after"]):
        yield ("after",), f"{quote(entry['after'])} is not right; expected the name of a parameter, or a list of names"
    action = entry.get("action", "stop")
    if action not in ACTIONS:
        yield ("action",), f"{quote(action)} is not right; expected {' or '.join(ACTIONS)}.{nearest(action, ACTIONS)}"


def _fits(kind: Kind, value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if kind == "number":
        return isinstance(value, (int, float)) and 0 < value < math.inf
    if kind == "count":
        return isinstance(value, int) and value >= 1
    if kind == "place":
        return (isinstance(value, int) and value >= 0) or (isinstance(value, str) and bool(value))
    if kind == "metric":
        return isinstance(value, str) and bool(value)
    names = [value] if isinstance(value, str) else value
    return isinstance(names, list) and bool(names) and all(isinstance(name, str) and name for name in names)
