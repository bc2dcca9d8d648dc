"""Spell values as people read them: numbers, durations, configurations.

It is the one place for that, so that a figure, a table and a sentence never spell the same value differently.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hpo.translation.catalogue import mark, tr, trn

if TYPE_CHECKING:
    from hpo.spec.models import Metric

_LISTED = {
    "and": mark("{words} and {last}"),
    "or": mark("{words} or {last}"),
    "and no": mark("{words} and no {last}"),
}


def number(value: float, significant: int = 4) -> str:
    """Return a number with at most `significant` digits and no padding: `0.001`, `5e-4`, `12.5`, `1.2e6`."""
    if not math.isfinite(value):
        return tr("nan") if math.isnan(value) else (tr("infinity") if value > 0 else tr("-infinity"))
    if value == 0:
        return "0"
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    if 1e-3 <= abs(value) < 1e6:
        short = f"{value:.{significant}g}"
        return f"{value:.0f}" if "e" in short else short
    mantissa, exponent = f"{value:.{significant - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def percent(value: float, significant: int = 3) -> str:
    """Return a number of percent with `significant` digits, and with more where it would round up to 100: `99.985`."""
    text = number(value, significant)
    if not (value < 100 and text == "100"):
        return text
    digits = min(9, 1 - math.floor(math.log10(100 - value)))
    # Two digits of what is missing to 100, which is never rounded away.
    return f"{min(value, 100 - 10.0**-digits):.{digits}f}"


def rounded_percent(share: float, decimals: int = 0) -> str:
    """Return a share as a rounded percentage; `< 1%` and `> 99%` where it would be that of nothing or of all."""
    least = 10.0**-decimals
    if share > 0 and round(100 * share, decimals) == 0:
        return f"< {least:g}%"
    if share < 1 and round(100 * share, decimals) == 100:
        return f"> {100 - least:g}%"
    return f"{share:.{decimals}%}"


def label(value: Any) -> str:
    """Return a parameter's value, spelled as in YAML where YAML has a short spelling."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{label(key)} {label(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(label(part) for part in value)
    return str(value)


def configuration(params: Mapping[str, Any], without: Iterable[str | None] = ()) -> str:
    """Return parameters as `learning_rate 5e-4, batch_size 16`, leaving out the names in `without`."""
    left_out = set(without)
    parts = []
    for name, value in params.items():
        if name not in left_out:
            parts.append(f"{name} ({label(value)})" if isinstance(value, Mapping) else f"{name} {label(value)}")
    return ", ".join(parts) or tr("no other parameter")


def duration(seconds: float | None) -> str:
    """Return a duration as `0.42 s`, `12.5 s`, `3 min 20 s` or `2 h 05 min`; an em dash when unknown."""
    if seconds is None:
        return "—"
    if seconds < 59.95:
        return tr("{seconds} s", seconds=f"{seconds:.2f}" if seconds < 1 else f"{seconds:.1f}")
    whole = round(seconds)
    if whole < 3600:
        return tr("{minutes} min {seconds} s", minutes=whole // 60, seconds=f"{whole % 60:02d}")
    minutes = round(seconds / 60)
    return tr("{hours} h {minutes} min", hours=minutes // 60, minutes=f"{minutes % 60:02d}")


def rough_duration(seconds: float) -> str:
    """Return a time to wait, no finer than it can be known: `8 s`, `2 min`, `1 h 20 min`, `3 d 4 h`."""
    if seconds < 60:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [
        f"{days} d" if days else "",
        f"{hours} h" if hours else "",
        f"{minutes} min" if minutes and not days else "",
    ]
    return " ".join(filter(None, parts))


def around(interval: tuple[float, float, float], text: Callable[[float], str]) -> str:
    """Return an interval and its middle: `12 min (10 min to 15 min)`, or `12 min` where all are written alike."""
    low, middle, high = map(text, interval)
    return middle if low == middle == high else f"{middle} ({low} to {high})"


def decimals(values: Iterable[float]) -> int:
    """Return the number of decimals, 0 to 6, that tell values of this spread apart to about a hundredth of it."""
    known = [value for value in values if math.isfinite(value)]
    spread = max(known) - min(known) if known else 0.0
    if spread <= 0 or not math.isfinite(spread):
        return 3
    return min(6, max(0, 2 - math.floor(math.log10(spread))))


def score(value: float, places: int) -> str:
    """Return a metric with `places` decimals, or in scientific notation where those would not show it."""
    if value != 0 and (abs(value) >= 1e6 or abs(value) < 10.0 ** -(places + 1)):
        return number(value)
    return f"{value:.{places}f}"


def trials(n: int) -> str:
    """Return `1 trial` or `3 trials`, in the current language."""
    return trn("{n} trial", "{n} trials", n)


def listed(words: Iterable[str], last: str = "and") -> str:
    """Return words as `a`, `a and b` or `a, b and c`; `last` is "and", "or" or "and no"."""
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    return tr(_LISTED[last], words=tr(", ").join(items[:-1]), last=items[-1])


def goal(metric: Metric) -> str:
    """Return the aim of a metric: `maximize val_auc`."""
    if metric.direction == "maximize":
        return tr("maximize {metric}", metric=metric.name)
    return tr("minimize {metric}", metric=metric.name)


def with_direction(metric: Metric) -> str:
    """Return a metric with its direction: `val_auc (maximize)`."""
    if metric.direction == "maximize":
        return tr("{metric} (maximize)", metric=metric.name)
    return tr("{metric} (minimize)", metric=metric.name)


def numbers(trials: Iterable[int], limit: int = 12) -> str:
    """Return trial numbers as `3, 7, 12`, the tail cut at `limit`."""
    all_of_them = list(trials)
    shown = ", ".join(str(n) for n in all_of_them[:limit])
    left = len(all_of_them) - limit
    return shown if left <= 0 else tr("{numbers} and {n} more", numbers=shown, n=left)


def columns_of(text: str) -> int:
    """Return the width of a text in columns of a terminal, where East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
