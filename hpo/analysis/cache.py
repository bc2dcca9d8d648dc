"""Keep analysis that several sections of a report ask for, so that it is made once a study."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from hpo.analysis.records import StudyRecord
from hpo.translation.catalogue import current

P = ParamSpec("P")
T = TypeVar("T")


def cached_per_study(function: Callable[Concatenate[StudyRecord, P], T]) -> Callable[Concatenate[StudyRecord, P], T]:
    """Keep the result of a function of a study, for the same further arguments and the same language.

    It is kept as long as the study's record is in use. The function must return what is frozen.
    """
    made: WeakKeyDictionary[StudyRecord, dict[object, T]] = WeakKeyDictionary()

    def kept(study: StudyRecord, /, *args: P.args, **kwargs: P.kwargs) -> T:
        known = made.setdefault(study, {})
        key = (current(), args, tuple(kwargs.items()))
        if key not in known:
            known[key] = function(study, *args, **kwargs)
        return known[key]

    update_wrapper(kept, function)
    return kept
