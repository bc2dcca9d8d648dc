"""The conditions of study.yaml: what they mean, that evaluation is total, and that nothing else can be said in them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.red_flags.condition import FUNCTIONS, MAX_DEPTH, MAX_LENGTH, Condition, ConditionError, Scope, parse_condition

NAN, INF = math.nan, math.inf


def holds(text: str, **values: float) -> bool | None:
    return parse_condition(text).holds(Scope(values))


def over(text: str, values: list[float], epochs: list[int] | None = None) -> bool | None:
    """With `x` over the epochs so far."""
    return parse_condition(text).holds(
        Scope({"x": values[-1]}, {"x": values}, {"x": epochs or list(range(len(values)))})
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x == 2", True), ("x != 2", False), ("x < 3 and y > 5", False), ("x < 3 or y > 5", True), ("not x < 3", False),
        ("1 < x < 3", True), ("1 < x < y < 2", False), ("x + y * 2 == 8", True), ("(x + y) * 2 == 10", True),
        ("x - y - 1 == -2", True), ("12 / x / y == 2", True), ("-x == -2", True), ("--x == 2", True),
        ("x * -1 < 0", True), ("abs(x - y) == 1", True), ("not (x == 2 and y == 3)", False), ("`x` == 2", True),
        ("x > 1 or y > 9 and y > 9", True), ("not x == 3 and y == 3", True), ("x == 2e0", True), ("x > .5", True),
        ("(x) == 2", True), ("(x > 1)", True),
    ],
)  # fmt: skip
def test_what_a_condition_means(text: str, expected: bool) -> None:
    assert holds(text, x=2.0, y=3.0) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("z > 1", None), ("x / 0 > 1", None), ("z > 1 and x == 9", False), ("z > 1 or x == 2", True),
        ("z > 1 or x == 9", None), ("z > 1 and x == 2", None), ("not z > 1", None), ("x == 9 < z", False),
        ("first(x) == 2", None), ("finite(z)", None), ("rising(x, 2)", None),
    ],
)  # fmt: skip
def test_what_is_not_known_is_neither_true_nor_false(text: str, expected: bool | None) -> None:
    assert holds(text, x=2.0) is expected


@pytest.mark.parametrize("sign", ["==", "!=", "<", "<=", ">", ">="])
def test_no_comparison_with_nan_holds(sign: str) -> None:
    assert holds(f"x {sign} 1", x=NAN) is False
    assert holds(f"1 {sign} x", x=NAN) is False


def test_finite() -> None:
    assert [holds("finite(x)", x=x) for x in (1.0, NAN, INF, -INF)] == [True, False, False, False]


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("first(x) == 3", [3, 1, 2], True), ("previous(x) == 1", [3, 1, 2], True), ("previous(x) == 1", [3], None),
        ("min(x) == 1", [3, 1, 2], True), ("max(x, 2) == 2", [3, 1, 2], True), ("mean(x) == 2", [3, 1, 2], True),
        ("mean(x, 2) == 1.5", [3, 1, 2], True), ("mean(x, 0) == 1", [3, 1], None), ("min(x) == 2", [NAN, 2], True),
        ("max(x) > 1", [NAN], None), ("at(x, 1) == 1", [3, 1, 2], True), ("at(x, 7) == 1", [3, 1, 2], None),
        ("rising(x, 2)", [1, 2, 3], True), ("rising(x, 2)", [1, 3, 2], False), ("rising(x, 2)", [2, 3], False),
        ("x > 2 * first(x)", [1, 3], True), ("max(x, 1 / 0) > 0", [1, 2], None),
    ],
)  # fmt: skip
def test_functions_over_the_epochs(text: str, values: list[float], expected: bool | None) -> None:
    assert over(text, [float(value) for value in values]) is expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train_recall == )", "unexpected ')' at column 17 of 'train_recall == )'; expected a number, a name or '('"),
        ("x = 3", "unexpected '=' at column 3 of 'x = 3'; expected '=='"),
        ("x.__class__ == 1", "unexpected '.' at column 2"),
        ("x[0] > 1", "unexpected '['"),
        ("x == 'a'", "unexpected '"),
        ("meen(x) > 1", "unknown function 'meen' at column 1 of 'meen(x) > 1'; expected first, "),
        ("meen(x) > 1", "Did you mean 'mean'?"),
        ("__import__(os) > 1", "unknown function '__import__'"),
        ("x + 1", "'x' begins a number at column 1 of 'x + 1'; expected something that holds or does not"),
        ("(x > 1) + 1 > 2", "begins a condition"),
        ("x > 1 y", "unexpected 'y' at column 7"),
        ("(x > 1", "unexpected end at column 7"),
        ("x > 1e999", "1e999 is too large"),
        ("x == nan", "ask finite(x)"),
        ("at(x) > 1", "expected at(x, n): the value in epoch n"),
        ("rising(x, 1, 2)", "expected rising(x, k)"),
        ("first(3) > 1", "expected the name of a metric"),
        ("3x > 1", "unexpected '3'"),
        ("", "is empty; expected a condition"),
        ("x > " + "1" * 2000, "characters long; expected at most"),
        ("(" * (MAX_DEPTH + 1) + "x" + ")" * (MAX_DEPTH + 1) + " > 1", "nested more than"),
        ("-" * (MAX_DEPTH + 1) + "x > 1", "nested more than"),
        ("not " * (MAX_DEPTH + 1) + "x > 1", "nested more than"),
    ],
)
def test_what_is_wrong_is_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ConditionError) as error:
        parse_condition(text)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        *("x == 1_000", "x == 0x10", "x == 3j", "x == 1if", "x ** 2 > 1", "x // 2 > 1", "x << 2 > 1", "x @ y > 1"),
        *("x % 2 > 1", "+x > 1", "~x > 1", "x if y else z", "x is y", "x is not y", "x in y", "x not in y"),
        *("x > 1 and", "lambda: x", "(y := x) > 1", "x.y > 1", "f'{x}' > 1", "b'x' > 1", "... > 1", "x; y > 1"),
        *("(x, y) > 1", "x, y > 1", "() > 1", "x > 1,", "[x] > 1", "{x} > 1", "(first)(x) > 1", "first(x)(x) > 1"),
        *(
            "first(x,) > 1",
            "first(*x) > 1",
            "first(**x) > 1",
            "first(x=y) > 1",
            "first(x for x in y) > 1",
            "first() > 1",
        ),
        *("x == not y", "-not x", "x <> y", "x -> y", "x > 1 # y", "x > 1 \\\n", "x\x00 > 1", "await x", "yield x"),
        *("abs(x, y) > 1", "abs(x > 1) > 1", "(x > 1) == (y > 1)", "-(x > 1)", "first(abs(x)) > 1", "`first`(x) > 1"),
        *("x > 1) or (y > 1", "``> 1", "`x > 1", "x > \u0661_0"),
    ],
)
def test_what_python_understands_and_a_condition_does_not(text: str) -> None:
    with pytest.raises(ConditionError):
        parse_condition(text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        # Words of Python are names here, and Unicode's normal form makes no name another.
        *[(f"{word} == 1", {word: 1.0}) for word in ("if", "in", "is", "lambda", "None", "class", "print", "_", "x1")],
        ("ﬁ == 1 and fi == 2", {"ﬁ": 1.0, "fi": 2.0}),
        ("µ == 1", {"µ": 1.0}),  # the micro sign, not the Greek letter
        ("`val/loss.x-y` == 1", {"val/loss.x-y": 1.0}),
        ("`and` == 1 and `(` == 1", {"and": 1.0, "(": 1.0}),
        ("x == 007 and x == \u0667 and x == 7.", {"x": 7.0}),
        ("  x\n ==\t1\u00a0", {"x": 1.0}),
        ("x--1 == 2 and x - - -1 == 0", {"x": 1.0}),
        ("not not x == 1", {"x": 1.0}),
        ("0" + "+x" * 495 + " == 495", {"x": 1.0}),  # as long as may be
        ("x==1" + " or x==1" * 124, {"x": 1.0}),
        ("(" * MAX_DEPTH + "x" + ")" * MAX_DEPTH + " == 1", {"x": 1.0}),
        ("-" * MAX_DEPTH + "x == 1", {"x": 1.0}),
    ],
)
def test_what_python_would_refuse_or_understand_otherwise(text: str, values: dict[str, float]) -> None:
    assert len(text) <= MAX_LENGTH
    found = parse_condition(text)
    assert found.holds(Scope(values)) is True
    assert found.names == tuple(values)


def test_names_are_those_in_the_text() -> None:
    assert parse_condition("`val/loss` > first(a) and b < `val/loss`").names == ("val/loss", "a", "b")


# --- fuzzed

# Pieces that make a good part of the texts right, and others that try to reach Python.
WORDS = [
    *("x", "y", "epoch", "`a b`", "0", "1e-3", "2.5", "and", "or", "not", "(", ")", ",", "+", "-", "*", "/", "=="),
    *("<", ">=", "!=", "__class__", ".", "[", "]", "lambda", ":", "import", "'os'", "=", "\n", "é", "µ", "1e400", "x("),
    *(f"{name}(x" for name in FUNCTIONS),
]
texts = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join),
    st.text("()-x<1notad ", max_size=80),
)
numbers = st.floats() | st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324])


def compiled(text: str) -> Condition | None:
    try:
        return parse_condition(text)
    except ConditionError:
        return None


@given(texts, st.dictionaries(st.sampled_from(["x", "y", "epoch", "a b"]), st.lists(numbers, max_size=6)))
def test_any_text_is_a_condition_or_a_sentence(text: str, series: dict[str, list[float]]) -> None:
    found = compiled(text)
    if found is not None:
        now = {name: values[-1] for name, values in series.items() if values}
        epochs = {name: list(range(len(values))) for name, values in series.items()}
        assert found.holds(Scope(now, series, epochs)) in (True, False, None)


leaves = st.sampled_from(["x", "y", "3", "0", "1e300", "first(x)", "mean(y, 2)", "at(x, y)"])
values = st.deferred(lambda: leaves | pairs)
pairs = st.builds("({} {} {})".format, values, st.sampled_from("+-*/"), values)
conditions = st.deferred(
    lambda: (
        st.builds("{} {} {}".format, values, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), values)
        | st.builds("(not {})".format, conditions)
        | st.builds("({} {} {})".format, conditions, st.sampled_from(["and", "or"]), conditions)
        | st.sampled_from(["finite(x)", "rising(y, 3)", "rising(x, y)"])
    )
)


@given(conditions, st.lists(numbers, min_size=1, max_size=8), st.lists(numbers, max_size=8))
def test_evaluation_is_total(text: str, x: list[float], y: list[float]) -> None:
    found = compiled(text)
    if found is None:
        return  # deeper or longer than is allowed
    series = {"x": x, "y": y}
    now = {name: values[-1] for name, values in series.items() if values}
    assert found.holds(Scope(now, series, {"x": list(range(len(x))), "y": list(range(len(y)))})) in (True, False, None)


@given(conditions, st.floats(-10, 10), st.floats(-10, 10))
def test_numbers_and_truths_are_those_of_python(text: str, x: float, y: float) -> None:
    """Where every name is known, an independent reading of the same text: Python's own, with the same functions."""
    found = compiled(text)
    if found is None:
        return
    scope = Scope({"x": x, "y": y}, {"x": [x], "y": [y]}, {"x": [0], "y": [0]})
    known = {
        "x": x, "y": y, "first": lambda v: v, "mean": lambda v, k: v, "finite": math.isfinite,
        "rising": lambda v, k: False, "at": lambda v, n: v if n == 0 else 1 / 0,
    }  # fmt: skip
    try:
        expected = eval(text, {"__builtins__": {}}, known)
    except ZeroDivisionError:
        return  # unknown here, and maybe settled by the rest
    if "1e300" not in text:  # whose products overflow to infinity, and may cancel to NaN
        assert found.holds(scope) in (expected, None)
