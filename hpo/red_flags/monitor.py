"""Red flags over a running trial: what the rules of study.yaml find in its reports, and the numbers that led to it.

A rule looks at an epoch in which what it asks of was reported, and only there: an epoch without it neither fulfils the
rule nor breaks a run of epochs that did. Each rule is raised at most once a trial."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.curves.metric_names import without_split
from hpo.red_flags.definitions import RedFlag, names_in
from hpo.red_flags.rules import Unknown, View, rule_of
from hpo.text import listing, nearest
from hpo.trial import Usage

if TYPE_CHECKING:
    pass

GIB = 2**30
# What an expression may also name, unless a metric, parameter or constant has the name.
OWN_NAMES = ("epoch", "seconds", "epoch_seconds", "memory_gib", "gpu_memory")


@dataclass(frozen=True)
class Raised:
    """A red flag of a trial. evidence: `metrics`, name -> value in that epoch; `since`, the first epoch of those in a
    row that fulfilled the rule; and what else the rule says."""

    name: str
    action: str
    step: int
    reason: str
    evidence: Mapping[str, Any]

    @property
    def stops(self) -> bool:
        return self.action == "stop"

    def data(self) -> dict[str, Any]:
        """As JSON, which has no NaN: numbers that are not finite as the texts nan, inf and -inf."""
        evidence: dict[str, Any] = _plain(self.evidence)
        return {
            "name": self.name, "action": self.action, "step": self.step, "reason": self.reason, "evidence": evidence,
        }  # fmt: skip


def raised_from(data: Mapping[str, Any]) -> Raised:
    """What `Raised.data` gave; the texts of the evidence stay texts."""
    return Raised(data["name"], data["action"], data["step"], data["reason"], data["evidence"])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class RedFlagMonitor:
    """The rules of a study over one trial.

    metric, maximize: the study's first metric. started: when the trial began, by the clock of `see`. seconds: what
    earlier attempts at it took."""

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
        self._held: dict[str, list[int]] = {flag.name: [] for flag in flags}
        self._seen: set[int] = set()
        self._started, self._last, self._before = started, started, seconds

    @property
    def stopping(self) -> Raised | None:
        """The flag that ends the trial."""
        return next((flag for flag in self.raised if flag.stops), None)

    def replay(self, steps: Iterable[tuple[int, Mapping[str, float]]]) -> list[Raised]:
        """The reports of earlier attempts; returns what they should have raised and did not. Rules about time and
        memory are silent: nobody knows any more."""
        found = []
        for epoch, metrics in steps:
            found += self._see(epoch, metrics, {})
        return found

    def see(self, epoch: int, metrics: Mapping[str, float], now: float, usage: Usage) -> list[Raised]:
        """A report at the time `now`; returns the flags that it raises. A step that was reported before raises none."""
        own = {"seconds": self._before + now - self._started, "epoch_seconds": now - self._last}
        self._last = now
        if usage.host_bytes:
            own["memory_gib"] = usage.host_bytes / GIB
        if usage.gpu_memory:
            own["gpu_memory"] = usage.gpu_memory
        return self._see(epoch, metrics, own)

    def _see(self, epoch: int, metrics: Mapping[str, float], own: Mapping[str, float]) -> list[Raised]:
        if epoch in self._seen:
            return []
        self._seen.add(epoch)
        view = self._view
        view.epoch, view.now = epoch, metrics
        view.known = {**own, "epoch": float(epoch), **self._numbers}
        for name, value in metrics.items():
            view.series.setdefault(name, []).append(value)
            view.epochs.setdefault(name, []).append(epoch)
        already = {flag.name for flag in self.raised}
        found = [raised for flag in self._flags if flag.name not in already and (raised := self._ask(flag))]
        self.raised += found
        return found

    def _ask(self, flag: RedFlag) -> Raised | None:
        epoch, held = self._view.epoch, self._held[flag.name]
        if epoch < flag.from_epoch + max((self._view.known.get(name, 0.0) for name in flag.after), default=0.0):
            return None
        try:
            found = self._rules[flag.name](self._view)
        except Unknown:
            return None
        if found is None:
            held.clear()
            return None
        held.append(epoch)
        if len(held) < flag.for_epochs:
            return None
        row = f", {len(held)} epochs in a row" if len(held) > 1 else ""
        reason = f"red flag '{flag.name}' at epoch {epoch}: {found.sentence}{row}"
        evidence = {"metrics": dict(found.metrics), "since": held[0], **found.more}
        return Raised(flag.name, flag.action, epoch, reason, evidence)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that are numbers, true and false not among them."""
    found = {}
    for name, value in values.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                found[name] = float(value)
            except OverflowError:
                continue
    return found


# --- of a study that has run


def asked_of(flag: RedFlag) -> tuple[str, ...]:
    """The names that a rule says itself: those in its condition, and the metrics that were set."""
    if flag.when:
        return (*flag.condition().names, *flag.after)
    given = [flag.options.get(name) for name in ("metric", "metrics", "components", "train", "at")]
    given.append(flag.after)
    return tuple(name for each in given if not isinstance(each, int) for name in names_in(each))


def unheard(flags: Iterable[RedFlag], reported: Iterable[str], known: Iterable[str]) -> list[str]:
    """A sentence for each rule that names what no trial had: a metric among `reported`, or a parameter or constant
    among `known`. Such a rule never spoke, most likely for a spelling."""
    metrics, known = list(dict.fromkeys(reported)), list(known)
    names = {*metrics, *map(without_split, metrics), *known, *OWN_NAMES}
    sentences = []
    for flag in flags:
        missing = [name for name in asked_of(flag) if name not in names]
        if missing and metrics:
            sentences.append(
                f"red flag '{flag.name}': no trial reported '{missing[0]}'; reported are {listing(metrics, 20)}."
                f"{nearest(missing[0], [*metrics, *known])}"
            )
    return sentences
