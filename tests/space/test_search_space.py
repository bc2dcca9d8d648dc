"""Search spaces: what is declared, what Optuna is asked, what the objective gets."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import re
import warnings
from collections import Counter
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.errors import SpecError
from hpo.space.parameter import break_stick, join_stick
from hpo.space.search_space import SearchSpace
from hpo.trial import with_lists

CONDITIONAL: dict[str, Any] = {
    "arch": {"choices": ["unet", "resunet"], "structural": True},
    "lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "batch": {"low": 8, "high": 32, "step": 8},
    "momentum": 0.9,
    "loss": {
        "choices": {
            "bce": {},
            "focal": {
                "gamma": {"low": 0.0, "high": 5.0},
                "kind": {"choices": {"a": {"tau": {"low": 1, "high": 3}}, "b": {}}},
            },
            "tversky": {"gamma": {"low": 0.5, "high": 1.0, "step": 0.25}},
        }
    },
    "weights": {"simplex": ["bce", "dice", "edge"]},
}


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace.parse(CONDITIONAL)


def test_a_conditional_parameter_has_a_long_name_in_optuna_and_its_own_for_the_objective(space: SearchSpace) -> None:
    names = {parameter.full_name: parameter.condition_text for parameter in space.walk()}
    assert names["loss.focal.gamma"] == "loss = focal"
    assert names["loss.focal.kind.a.tau"] == "loss = focal and kind = a"
    assert names["loss.tversky.gamma"] == "loss = tversky"
    given = {"arch": "unet", "lr": 1e-3, "batch": 8, "loss": "focal", "weights.0": 0.0, "weights.1": 0.0}
    given |= {"loss.focal.gamma": 2.0, "loss.focal.kind": "a", "loss.focal.kind.a.tau": 3}
    assert space.resolve(given) == {
        **{"arch": "unet", "lr": 1e-3, "batch": 8, "momentum": 0.9, "loss": "focal", "gamma": 2.0, "kind": "a"},
        **{"tau": 3, "weights": {"bce": 0.0, "dice": 0.0, "edge": 1.0}},
    }


def test_fixed_weights_are_given_as_they_are_written() -> None:
    """Normalised, weights that miss 1 by a rounding error would be other numbers than those that were trained."""
    weights = {"bce": 0.1, "dice": 0.2, "edge": 0.6999999999999998}
    fixed = SearchSpace.parse({"weights": {"simplex": weights}, "x": {"low": 0, "high": 1}})
    assert fixed.resolve({"x": 1}) == {"weights": weights, "x": 1}
    assert fixed.grid_size() == 2
    assert SearchSpace.parse(fixed.data()).resolve({"x": 0})["weights"] == weights
    assert fixed.parameters[0].distribution == "always bce 0.1, dice 0.2, edge 0.7"
    for wrong, said in (
        ({"bce": 0.5, "dice": 0.6}, "sum to 1.1"),
        ({"bce": 1.0}, "expected at least two"),
        ({}, "two"),
    ):
        with pytest.raises(SpecError, match=said):
            SearchSpace.parse({"weights": {"simplex": wrong}})


def test_names_of_parameters_that_every_trial_has() -> None:
    space = SearchSpace.parse(
        {"a": {"choices": {"x": {"p": 1, "q": 2}, "y": {"p": {"low": 1, "high": 2}}}}, "b": {"choices": [1, 2]}}
    )
    assert space.always_active() == {"a", "b", "p"}


def test_kinds_follow_from_the_numbers() -> None:
    space = SearchSpace.parse(
        {"i": {"low": 1, "high": 4}, "f": {"low": 1, "high": 4.0}, "s": {"low": 1, "high": 4, "step": 0.5}, "t": "sgd"}
    )
    assert [(p.kind, p.count) for p in space.parameters] == [("int", 4), ("float", None), ("float", 7), ("fixed", 1)]


# u -> weights by hand: v0 = 1 - (1 - u0)^(1/2), v1 = u1; w = (v0, (1 - v0) v1, (1 - v0)(1 - v1))
@pytest.mark.parametrize(
    ("uniform", "weights"),
    [
        ((0.75,), (0.75, 0.25)),
        ((0.75, 0.5), (0.5, 0.25, 0.25)),
        ((0.19, 0.25), (0.1, 0.225, 0.675)),
        ((0.0, 0.0), (0.0, 0.0, 1.0)),
        # four weights: v0 = 1 - (1 - 0.488)^(1/3) = 0.2, v1 = 1 - (1 - 0.4375)^(1/2) = 0.25, v2 = 0.5
        ((0.488, 0.4375, 0.5), (0.2, 0.2, 0.3, 0.3)),
    ],
)
def test_stick_breaking_by_hand(uniform: tuple[float, ...], weights: tuple[float, ...]) -> None:
    assert break_stick(uniform) == pytest.approx(list(weights))
    assert join_stick(weights) == pytest.approx(list(uniform))


def test_stick_breaking_is_uniform_on_the_simplex() -> None:
    rng = random.Random(0)
    drawn = [break_stick([rng.random(), rng.random()]) for _ in range(20_000)]
    for i in range(3):
        values = [weights[i] for weights in drawn]
        # Each weight of a uniform point of the 2-simplex is Beta(1, 2): mean 1/3, P(w > 1/2) = 1/4.
        assert sum(values) / len(values) == pytest.approx(1 / 3, abs=0.01)
        assert sum(value > 0.5 for value in values) / len(values) == pytest.approx(0.25, abs=0.015)


@given(st.lists(st.floats(0, 0.999), min_size=1, max_size=6))
def test_stick_breaking_has_an_inverse(uniform: list[float]) -> None:
    weights = break_stick(uniform)
    assert math.fsum(weights) == pytest.approx(1)
    assert all(weight >= 0 for weight in weights)
    assert join_stick(weights) == pytest.approx(uniform, abs=1e-9)


def test_enqueued_weights_come_back_as_the_same_weights(space: SearchSpace) -> None:
    weights = {"bce": 0.2, "dice": 0.3, "edge": 0.5}
    assert space.resolve(space.to_optuna({"weights": weights}))["weights"] == pytest.approx(weights)


def test_to_optuna_takes_both_names_and_part_of_the_parameters(space: SearchSpace) -> None:
    assert space.to_optuna({"loss": "focal", "gamma": 2}) == {"loss": "focal", "loss.focal.gamma": 2.0}
    assert space.to_optuna({"loss": "focal", "loss.focal.gamma": 2}) == {"loss": "focal", "loss.focal.gamma": 2.0}
    assert space.to_optuna({"momentum": 0.9, "batch": 16.0}) == {"batch": 16}
    assert space.to_optuna({}) == {}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"lrr": 1}, "lrr: is not a parameter of search_space. Did you mean 'lr'?"),
        ({"lr": 1}, "lr: 1 is out of range; expected 1e-4 to 0.01, log"),
        ({"lr": "1e-3"}, "lr: '1e-3' is not a number"),
        ({"lr": True}, "lr: true is not a number"),
        ({"lr": math.nan}, "lr: nan is not a number"),
        ({"batch": 8.5}, "batch: 8.5 is not an integer"),
        ({"batch": 12}, "batch: 12 is not on a step; expected 8 to 32, step 8, such as"),
        ({"batch": 10**400}, "is out of range"),
        ({"arch": "unett"}, "arch: 'unett' is not a choice; expected unet | resunet. Did you mean 'unet'?"),
        ({"momentum": 0.8}, "momentum: 0.8 cannot be set; search_space fixes it to 0.9"),
        ({"gamma": 1}, "gamma: is a parameter only where loss = focal or loss = tversky"),
        ({"loss": "bce", "gamma": 1}, "gamma: is a parameter only where loss = focal or loss = tversky"),
        ({"loss": "focal", "gamma": 1, "loss.focal.gamma": 2}, "given twice"),
        ({"weights": {"bce": 0.5, "dice": 0.5}}, "is not a set of weights; expected the weights bce, dice, edge"),
        ({"weights": {"bce": 0.5, "dice": 0.5, "edge": 0.5}}, "the weights sum to 1.5"),
        ({"weights": {"bce": -0.5, "dice": 1, "edge": 0.5}}, "-0.5 is not a weight"),
    ],
)
def test_to_optuna_says_what_does_not_fit(space: SearchSpace, params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        space.to_optuna(params)


def test_a_wrong_choice_is_not_a_mistake_of_its_children_too(space: SearchSpace) -> None:
    assert [name for name, _ in space.translate({"loss": "focl", "gamma": 1})[1]] == ["loss"]


def test_the_grid_by_hand() -> None:
    space = SearchSpace.parse(
        {
            "a": {"choices": {"x": {}, "y": {"s": {"low": 0.1, "high": 0.3, "step": 0.1}}}},
            "n": {"low": 1, "high": 2},
            "fixed": 7,
        }
    )
    assert space.grid_size() == 8
    assert list(space.grid()) == [
        *({"a": "x", "n": 1}, {"a": "x", "n": 2}),
        *({"a": "y", "a.y.s": s, "n": n} for s in (0.1, 0.2, 0.3) for n in (1, 2)),
    ]
    assert space.resolve({"a": "y", "a.y.s": 0.1 + 0.2, "n": 1}) == {"a": "y", "s": 0.3, "n": 1, "fixed": 7}


def test_the_grid_with_some_values_fixed() -> None:
    space = SearchSpace.parse(
        {
            "a": {"choices": {True: {}, False: {"s": {"low": 0.1, "high": 0.3, "step": 0.1}}}},
            "n": {"low": 1, "high": 2**53},
        }
    )
    assert list(space.grid({"n": 2**53})) == [
        {"a": True, "n": 2**53},
        *({"a": False, "a.false.s": s, "n": 2**53} for s in (0.1, 0.2, 0.3)),
    ]
    assert list(space.grid({"a": False, "a.false.s": 0.1 + 0.2, "n": 4.0})) == [{"a": False, "a.false.s": 0.3, "n": 4}]
    assert list(space.grid({"a": 1, "n": 1})) == [], "1 is not the choice true"


def test_a_configuration_is_the_same_whatever_rounding_and_json_made_of_it() -> None:
    space = SearchSpace.parse(
        {
            "b": {"choices": {8: {"s": {"low": 0.1, "high": 0.5, "step": 0.1}}, None: {}}},
            "n": {"low": 1, "high": 9, "step": 2},
            "x": {"low": 0.0, "high": 1.0},
        }
    )
    one = {"b": 8, "b.8.s": 0.3, "n": 3, "x": 0.5}
    assert space.cell_of(one) == space.cell_of({"x": 0.5, "n": 3.0, "b.8.s": 0.1 + 0.2, "b": 8.0, "other": 1})
    for name, value in {"b.8.s": 0.4, "n": 5, "x": 0.5000001}.items():
        assert space.cell_of(one | {name: value}) != space.cell_of(one)
    assert space.cell_of({"b": None, "n": 3, "x": 0.5}) is not None
    assert space.cell_of({"b": 8, "n": 3, "x": 0.5}) is None


def test_a_space_of_any_numbers_has_no_grid(space: SearchSpace) -> None:
    assert space.grid_size() is None
    problems = space.grid_problems()
    assert [problem.split("'")[1] for problem in problems] == ["lr", "loss.focal.gamma", "weights"]
    with pytest.raises(ValueError, match="which a grid cannot enumerate"):
        space.grid()


def test_an_integer_range_in_the_logarithm_has_a_grid() -> None:
    assert SearchSpace.parse({"n": {"low": 1, "high": 4, "log": True}}).grid_size() == 4


def test_without_a_file_the_problems_name_the_space() -> None:
    with pytest.raises(SpecError, match=r"search_space: lr\.low: low is 2, high is 1"):
        SearchSpace.parse({"lr": {"low": 2, "high": 1}})
    with pytest.raises(SpecError, match="holds no parameters"):
        SearchSpace.parse({})


def test_the_same_name_under_two_choices_is_fine_but_not_under_one_and_beside_it() -> None:
    low = {"low": 1, "high": 2}
    SearchSpace.parse({"a": {"choices": {"x": {"g": low}, "y": {"g": low}}}})
    for clash in (
        {"a": {"choices": {"x": {"g": low}}}, "g": low},
        {"g": low, "a": {"choices": {"x": {"g": low}}}},
        {"a": {"choices": {"x": {"a": low}}}},
        {"a": {"choices": {"x": {"g": low}}}, "b": {"choices": {"z": {"g": low}}}},
        {"a": {"choices": {"x": {"g": {"choices": {"u": {"a": low}}}}}}},
    ):
        with pytest.raises(SpecError, match="is also a parameter"):
            SearchSpace.parse(clash)


# ---------------------------------------------------------------------------------------------
# Properties over arbitrary spaces

_names = (f"p{i}" for i in itertools.count())


@st.composite
def parameters(draw: st.DrawFn, depth: int, grid: bool) -> Any:
    kinds = ["int", "step", "choices", "fixed", "logint"] + ([] if grid else ["float", "logfloat", "simplex"])
    kind = draw(st.sampled_from(kinds + (["nested"] if depth else [])))
    if kind in ("int", "logint"):
        low = draw(st.integers(1 if kind == "logint" else -20, 20))
        data: dict[str, Any] = {"low": low, "high": low + draw(st.integers(1, 3))}
        return data | ({"log": True} if kind == "logint" else {})
    if kind == "step":
        low, step, count = draw(st.integers(-20, 20)), draw(st.integers(1, 7)), draw(st.integers(1, 3))
        return {"low": low / 10, "high": (low + step * count) / 10, "step": step / 10}
    if kind == "float":
        low = draw(st.floats(-1e6, 1e6))
        return {"low": low, "high": low + draw(st.floats(1, 1e6))}
    if kind == "logfloat":
        low = draw(st.floats(1e-8, 1.0))
        return {"low": low, "high": low * draw(st.floats(2, 1e6)), "log": True, "structural": draw(st.booleans())}
    if kind == "simplex":
        return {"simplex": [f"w{i}" for i in range(draw(st.integers(2, 4)))]}
    if kind == "fixed":
        return draw(st.none() | st.booleans() | st.integers() | st.text(max_size=5))
    if kind == "choices":
        scalars = st.none() | st.integers(-9, 9) | st.text("abc. 1e-5", max_size=4)
        return {
            "choices": draw(
                st.lists(scalars, min_size=1, max_size=3, unique_by=lambda v: "null" if v is None else str(v))
            )
        }
    return {"choices": {c: draw(groups(depth - 1, grid, 0)) for c in "xyz"[: draw(st.integers(1, 3))]}}


@st.composite
def groups(draw: st.DrawFn, depth: int, grid: bool, least: int = 1) -> dict[str, Any]:
    return {next(_names): draw(parameters(depth, grid)) for _ in range(draw(st.integers(least, 3)))}


any_space = groups(2, False).map(SearchSpace.parse)
grid_space = groups(2, True).map(SearchSpace.parse).filter(lambda space: (space.grid_size() or 0) < 3000)


def ask(space: SearchSpace, seed: int, fixed: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """A trial's parameters by `suggest`, and as Optuna kept them."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    if fixed is not None:
        study.enqueue_trial(fixed)
    trial = study.ask()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return space.suggest(trial), trial.params


@settings(deadline=None, max_examples=60)
@given(any_space, st.integers(0, 2**32 - 1))
def test_resolve_gives_what_suggest_gave(space: SearchSpace, seed: int) -> None:
    suggested, kept = ask(space, seed)
    assert space.resolve(kept) == suggested
    assert set(kept) <= {name for parameter in space.walk() for name in parameter.optuna_names}


@settings(deadline=None, max_examples=60)
@given(any_space, st.integers(0, 2**32 - 1))
def test_to_optuna_is_the_inverse_of_resolve(space: SearchSpace, seed: int) -> None:
    suggested, kept = ask(space, seed)
    back = space.to_optuna(suggested)
    assert_same(back, kept)
    # Enqueued, it is the same trial again, and Optuna has nothing to warn of.
    again, _ = ask(space, 0, back)
    assert_same(space.to_optuna(again), back)


def assert_same(params: dict[str, Any], expected: dict[str, Any]) -> None:
    """Equal, floats up to the rounding of a simplex's powers."""
    assert set(params) == set(expected)
    for name, value in expected.items():
        assert params[name] == (pytest.approx(value, abs=1e-9, rel=1e-9) if isinstance(value, float) else value)


@settings(deadline=None, max_examples=60)
@given(any_space, st.integers())
def test_a_drawn_sample_is_one_that_optuna_could_draw(space: SearchSpace, seed: int) -> None:
    drawn = space.sample(random.Random(seed))
    suggested, kept = ask(space, 0, drawn)
    assert set(kept) == set(drawn)
    assert suggested == space.resolve(drawn)


@settings(deadline=None, max_examples=60)
@given(any_space)
def test_data_is_what_parse_takes_back(space: SearchSpace) -> None:
    assert SearchSpace.parse(space.data()) == space


@settings(deadline=None, max_examples=40)
@given(grid_space)
def test_every_cell_of_the_grid_is_there_once_and_valid(space: SearchSpace) -> None:
    cells = list(space.grid())
    assert len(cells) == space.grid_size()
    assert max(Counter(repr(sorted(cell.items())) for cell in cells).values()) == 1
    for cell in cells[:20]:
        assert space.to_optuna(space.resolve(cell)) == cell
        assert ask(space, 0, cell)[1] == cell


def test_random_draws_of_a_small_grid_find_all_its_cells_and_no_other() -> None:
    space = SearchSpace.parse({k: v for k, v in CONDITIONAL.items() if k not in ("lr", "weights", "loss")})
    cells = {repr(space.resolve(cell)) for cell in space.grid()}
    drawn = {repr(ask(space, seed)[0]) for seed in range(80)}
    assert drawn == cells


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["low", "high", "step", "log", "choices", "simplex", "a", "b"]) | st.integers(), inner
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(_plain | st.dictionaries(st.text("ab", min_size=1, max_size=2), _plain, min_size=1))
def test_parse_raises_nothing_but_spec_errors(data: Any) -> None:
    with contextlib.suppress(SpecError):
        space = SearchSpace.parse(data)
        space.resolve(space.sample(random.Random(0)))
        space.grid_size()


def test_choices_may_be_lists():
    declared = {"net": {"choices": [[64, 32], [128], [], [[3, 3], ["a"]], "none"]}, "lr": {"low": 0.1, "high": 1.0}}
    space = SearchSpace.parse(declared)
    net = space.parameters[0]
    assert net.choices == ("[64, 32]", "[128]", "[]", '[[3, 3], ["a"]]', "none")
    assert space.data() == declared
    assert space.to_optuna({"net": [64, 32]}) == {"net": "[64, 32]"}
    assert space.distributions()["net"].choices == net.choices
    assert with_lists({"net": "[64, 32]", "lr": 0.5}, space.lists) == {"net": [64, 32], "lr": 0.5}
    assert with_lists({"net": "none"}, space.lists) == {"net": "none"}
    with pytest.raises(ValueError, match=r"'\[7\]' is not a choice; expected \[64, 32\] \| \[128\]"):
        space.to_optuna({"net": [7]})
    with pytest.raises(SpecError, match="is given twice"):
        SearchSpace.parse({"net": {"choices": [[64, 32], "[64, 32]"]}})
    with pytest.raises(SpecError, match="is a list; a choice is a number, text, or a list of them"):
        SearchSpace.parse({"net": {"choices": [[{"a": 1}]]}})
