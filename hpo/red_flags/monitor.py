"""Red flags over a running trial: which rules its reports fulfil, and the numbers that led to it.

A rule looks at an epoch in which a metric that it needs was reported, and only there: an epoch without it neither
fulfils the rule nor breaks a row of epochs that did. Each rule is raised at most once in a trial.

An epoch may be reported in pieces. At each of them the rules are asked about all that is known of the epoch, and the
latest answer is the epoch's. So a rule over metrics of several pieces is raised with the last of them, and an epoch
counts once in a row of epochs. Rules that weigh the metrics of an epoch against each other wait for those that the
epoch before had, until the next epoch begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.curves.metric_names import without_split
from hpo.red_flags.definitions import RedFlag, names_in
from hpo.red_flags.metric_series import MetricSeries
from hpo.red_flags.rules import Unknown, View, rule_of
from hpo.text import listing, nearest
from hpo.trial import Usage

if TYPE_CHECKING:
    pass

GIB = 2**30
# Names that a condition may use, unless a metric, parameter or constant has the same name.
OWN_NAMES = ("epoch", "seconds", "epoch_seconds", "memory_gib", "gpu_memory")


@dataclass(frozen=True)
class Raised:
    """A red flag that was raised by a trial.

    Attributes:
        name: the rule's name.
        action: `stop` or `warn`.
        step: the epoch.
        reason: the whole sentence.
        evidence: `metrics`, by name in that epoch; `since`, the first epoch of those in a row that fulfilled the rule;
            and
            what else the rule says.
    """

    name: str
    action: str
    step: int
    reason: str
    evidence: Mapping[str, Any]

    @property
    def stops(self) -> bool:
        """True if it ends the trial."""
        return self.action == "stop"

    def data(self) -> dict[str, Any]:
        """Return it as plain data for JSON, which has no NaN.

        Numbers that are not finite become the texts nan, inf and -inf.
        """
        evidence: dict[str, Any] = _plain(self.evidence)
        return {
            "name": self.name, "action": self.action, "step": self.step, "reason": self.reason, "evidence": evidence,
        }  # fmt: skip


def raised_from(data: Mapping[str, Any]) -> Raised:
    """Return the flag of which `Raised.data` returned `data`; the texts of its evidence stay texts."""
    return Raised(data["name"], data["action"], data["step"], data["reason"], data["evidence"])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class RedFlagMonitor:
    """The rules of a study over one trial.

    Attributes:
        raised: the flags raised so far.

    Args:
        flags: the rules.
        params: the trial's parameters.
        constants: those of study.yaml.
        metric: the study's first metric.
        maximize: True if a higher value of it is better.
        started: when the trial began, by the clock of `observe`.
        seconds: time that earlier attempts at the trial took.
    """

    def __init__(
        self,
        flags: Sequence[RedFlag],
        params: Mapping[str, Any],
        constants: Mapping[str, Any],
        metric: str,
        maximize: bool,
        started: float = 0.0,
        seconds: float = 0.0,
    ) -> None:
        self.raised: list[Raised] = []
        self._flags = tuple(flags)
        self._rules = {flag.name: rule_of(flag) for flag in flags}
        self._view = View(params, metric, maximize)
        self._numbers = {**_numbers(constants), **_numbers(params)}
        self._series = MetricSeries()
        self._answers: dict[str, dict[int, bool]] = {flag.name: {} for flag in flags}  # by epoch, where known
        self._epoch = -1  # the one that began last
        self._in_pieces = False  # it was reported in several
        self._usual: frozenset[str] = frozenset()  # the names of the one before, if that was
        self._started, self._last, self._before = started, started, seconds
        self._timed = (-1, started)  # the epoch that this attempt began last, and when

    @property
    def stopping(self) -> Raised | None:
        """The flag that ends the trial, None if none does."""
        return next((flag for flag in self.raised if flag.stops), None)

    def observe_earlier(self, reports: Iterable[tuple[int, Mapping[str, float]]]) -> list[Raised]:
        """Take in the reports of earlier attempts.

        Rules about time and memory are silent, for these numbers are not known any more.

        Args:
            reports: epochs and metrics, in the order in which they were reported.

        Returns:
            The flags that those reports should have raised and did not.
        """
        found = []
        for epoch, metrics in reports:
            found += self._observe(epoch, metrics, {})
        return found

    def observe(self, epoch: int, metrics: Mapping[str, float], now: float, usage: Usage) -> list[Raised]:
        """Take in a report: a whole epoch, a piece of it, or what a resumed trial reports again.

        Args:
            epoch: the step.
            metrics: numbers by name.
            now: the time, in seconds.
            usage: what the trial has taken so far.

        Returns:
            The flags that the report raises.
        """
        own = {"seconds": self._before + now - self._started}
        if epoch not in self._series:
            self._timed = (epoch, self._last)
        if epoch == self._timed[0]:
            own["epoch_seconds"] = now - self._timed[1]
        self._last = now
        if usage.host_bytes:
            own["memory_gib"] = usage.host_bytes / GIB
        if usage.gpu_memory:
            own["gpu_memory"] = usage.gpu_memory
        return self._observe(epoch, metrics, own)

    def _observe(self, epoch: int, metrics: Mapping[str, float], own: Mapping[str, float]) -> list[Raised]:
        found = []
        if epoch not in self._series:
            if self._view.expected:  # it will not come any more
                self._view.expected = frozenset()
                found += self._ask_all()
            self._usual = frozenset(self._series.at(self._epoch)) if self._in_pieces else frozenset()
            self._epoch, self._in_pieces = epoch, False
        elif epoch == self._epoch:
            self._in_pieces |= bool(metrics.keys() - self._series.at(epoch).keys())
        self._series.add(epoch, metrics)
        view = self._view
        view.epoch, view.now = epoch, self._series.at(epoch)
        view.expected = self._usual - view.now.keys() if epoch == self._epoch else frozenset()
        view.known = {**own, "epoch": float(epoch), **self._numbers}
        view.series, view.epochs = self._series.until(epoch)
        return found + self._ask_all()

    def _ask_all(self) -> list[Raised]:
        """Ask the rules that were not raised yet about the epoch of the view."""
        already = {flag.name for flag in self.raised}
        found = [raised for flag in self._flags if flag.name not in already and (raised := self._ask(flag))]
        self.raised += found
        return found

    def _ask(self, flag: RedFlag) -> Raised | None:
        epoch = self._view.epoch
        if epoch < flag.from_epoch + max((self._view.known.get(name, 0.0) for name in flag.after), default=0.0):
            return None
        try:
            found = self._rules[flag.name](self._view)
        except Unknown:
            return None
        self._answers[flag.name][epoch] = found is not None
        if found is None:
            return None
        held = self._row(flag, epoch)
        if len(held) < flag.for_epochs:
            return None
        row = f", {len(held)} epochs in a row" if len(held) > 1 else ""
        reason = f"red flag '{flag.name}' at epoch {epoch}: {found.sentence}{row}"
        evidence = {"metrics": dict(found.metrics), "since": held[0], **found.more}
        return Raised(flag.name, flag.action, epoch, reason, evidence)

    def _row(self, flag: RedFlag, epoch: int) -> list[int]:
        """Return the epochs up to this one, ascending, in which the rule held without one between where it did not."""
        answers, held = self._answers[flag.name], []
        for one in reversed(self._series.epochs):
            if one > epoch or one not in answers:
                continue
            if not answers[one]:
                break
            held.append(one)
        return held[::-1]


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return those values that are numbers; true and false are none."""
    found = {}
    for name, value in values.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                found[name] = float(value)
            except OverflowError:
                continue
    return found


# --- of a study that has run


def names_in_rule(flag: RedFlag) -> tuple[str, ...]:
    """Return the names that a rule refers to: those in its condition, and the metrics that were set."""
    if flag.when:
        return (*flag.condition().names, *flag.after)
    given = [flag.options.get(name) for name in ("metric", "metrics", "components", "train", "at")]
    given.append(flag.after)
    return tuple(name for each in given if not isinstance(each, int) for name in names_in(each))


def unreported_names(flags: Iterable[RedFlag], reported: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a sentence for each rule with a name that no trial had. Such a rule was never raised, maybe for a typo.

    Args:
        flags: the rules.
        reported: names of metrics that trials reported.
        known: names of parameters and constants.
    """
    metrics, known = list(dict.fromkeys(reported)), list(known)
    names = {*metrics, *map(without_split, metrics), *known, *OWN_NAMES}
    sentences = []
    for flag in flags:
        missing = [name for name in names_in_rule(flag) if name not in names]
        if missing and metrics:
            sentences.append(
                f"red flag '{flag.name}': no trial reported '{missing[0]}'; reported are {listing(metrics, 20)}."
                f"{nearest(missing[0], [*metrics, *known])}"
            )
    return sentences
