"""Sentences for what pydantic refuses, whatever the shape of the model and of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hpo.validation import problems_in


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: Annotated[int, Field(ge=1)]
    kind: Literal["small", "large"] = "small"
    ratio: Annotated[float, Field(gt=0, lt=1, description="a part between 0 and 1")] = 0.5


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", title="a test file")

    name: Annotated[str, Field(min_length=1)]
    source: Literal["auto"] | tuple[str, ...] = Field(default="auto", alias="from")
    inner: Inner | None = None
    several: list[Inner | str] = []
    weights: Mapping[str, float] = {}
    limit: int | Literal["none"] = 1
    word: str = ""

    @field_validator("word")
    @classmethod
    def lower(cls, word: str) -> str:
        if word != word.lower():
            raise ValueError(f"'{word}' has capital letters; expected '{word.lower()}'")
        return word

    @model_validator(mode="after")
    def named(self) -> Outer:
        if self.name == self.word:
            raise ValueError("name and word are the same; expected two")
        return self


def said(data: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as error:
        Outer.model_validate(data)
    return {".".join(map(str, path)): sentence for path, sentence in problems_in(error.value, Outer)}


@pytest.mark.parametrize(
    ("data", "path", "sentence"),
    [
        ({}, "name", "is missing; expected text"),
        ({"name": ""}, "name", "'' is not right; expected text that is not empty"),
        ({"nmae": "x", "name": "x"}, "nmae", "is not a key of a test file; expected name, from, inner, several, "),
        ({"nmae": "x", "name": "x"}, "nmae", "weights, limit, word. Did you mean 'name'?"),
        ({"inner": {"cuont": 2, "count": 1}}, "inner.cuont", "is not a key of inner; expected count, kind, ratio. Did"),
        ({"inner": {}}, "inner.count", "is missing; expected an integer"),
        ({"inner": {"count": 0}}, "inner.count", "0 is out of range; expected at least 1"),
        ({"inner": {"count": 1.5}}, "inner.count", "1.5 is not right; expected an integer"),
        ({"inner": {"count": "x"}}, "inner.count", "'x' is not right; expected an integer"),
        (
            {"inner": {"count": 1, "kind": "smal"}},
            "inner.kind",
            "'smal' is not right; expected small or large. Did",
        ),
        ({"inner": {"count": 1, "ratio": 2}}, "inner.ratio", "2 is not right; expected a part between 0 and 1"),
        ({"inner": 3}, "inner", "3 is not right; expected a mapping"),
        # Branches of a union: what each of them expects, and no key that pydantic made up.
        ({"from": 3}, "from", "3 is not right; expected auto or a list"),
        ({"from": ["a", 3]}, "from.1", "3 is not right; expected text"),
        ({"limit": []}, "limit", "[] is not right; expected an integer or none"),
        ({"several": [3]}, "several.0", "3 is not right; expected a mapping or text"),
        ({"several": [{"count": "x"}]}, "several.0.count", "'x' is not right; expected an integer"),
        ({"several": 3}, "several", "3 is not right; expected a list"),
        ({"weights": {"a": "x"}}, "weights.a", "'x' is not right; expected a number"),
        ({"weights": {1: 0.5}}, "weights.1", "the key 1 is not right; expected text"),
        ({"word": "UP"}, "word", "'UP' has capital letters; expected 'up'"),
        ({"name": "same", "word": "same"}, "", "name and word are the same; expected two"),
        (3, "", "3 is not right; expected a mapping"),
    ],
)
def test_each_mistake_is_a_sentence(data: Any, path: str, sentence: str) -> None:
    given_ = {"name": "x", **data} if isinstance(data, dict) and data else data
    found = said(given_)
    assert list(found) == [path]
    assert sentence in found[path]


def test_all_mistakes_at_once() -> None:
    assert list(said({"word": 3, "limit": "x", "inner": {"count": -1}, "more": 1})) == [
        *("name", "inner.count", "limit", "word", "more"),
    ]


_keys = st.sampled_from([*Outer.model_fields, *Inner.model_fields, "from", "[key]", "options"]) | st.integers()
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
)


@given(st.dictionaries(_keys, _values))
def test_any_data_is_a_model_or_has_sentences(data: dict[Any, Any]) -> None:
    try:
        Outer.model_validate(data)
    except ValidationError as error:
        found = problems_in(error, Outer)
        assert found
        assert all(sentence for _, sentence in found)
