from __future__ import annotations

import weakref

from reading import SCORE, study

from hpo.analysis.cache import cached_per_study
from hpo.translation.catalogue import current, language


def test_it_is_made_once_a_study_argument_and_language_and_goes_with_the_study() -> None:
    made = []

    @cached_per_study
    def length(record, metric, ranking=()):
        made.append((metric.name, current()))
        return (record.name, metric.name, ranking)

    one, other = study(name="one"), study(name="other")
    assert length(one, SCORE) == length(one, SCORE) == ("one", "score", ())
    assert length(other, SCORE)[0] == "other"
    assert length(one, SCORE, ranking=("x",))[2] == ("x",)
    assert len(made) == 3
    with language("zh-TW"):
        length(one, SCORE)
    assert made[-1] == ("score", "zh-TW")
    gone = weakref.ref(one)
    del one
    assert gone() is None
