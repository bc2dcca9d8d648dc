from __future__ import annotations

import pytest

from hpo.spec.models import Budget, Component
from hpo.spec.wording import algorithm_text, budget_text, confirm_text


def test_a_sampler_is_said_with_its_options_as_yaml_spells_them() -> None:
    assert algorithm_text(Component(name="random")) == "random"
    options = {"multivariate": True, "gamma": 0.25, "seed": None, "search_space": {"x": [1, 2]}}
    expected = "tpe (multivariate true, gamma 0.25, seed null, search_space x 1, 2)"
    assert algorithm_text(Component(name="tpe", options=options)) == expected


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"trials": 1}, "1 trial"),
        ({"trials": 30, "hours": 2}, "30 trials or 2 hours"),
        ({"hours": 1, "gpu_hours": 1}, "1 hour or 1 GPU hour"),
        ({"gpu_hours": 0.5}, "0.5 GPU hours"),
        ({}, "every cell of the grid once"),
    ],
)
def test_a_budget_is_said_by_its_limits(limits: dict[str, float], text: str) -> None:
    assert budget_text(Budget(**limits)) == text


def test_what_a_confirmation_sets_aside(make_spec):
    spec = make_spec(confirm={"top": 2, "seeds": 3}, budget={"trials": 60, "hours": 10})
    assert confirm_text(spec) == "top 2, 3 seeds, with 15 trials or 2 hours set aside"
    share = make_spec(budget={"trials": 60, "confirm": "20%"})
    assert confirm_text(share) == "as many configurations and seeds as it pays for, with 12 trials set aside"
    assert budget_text(share.budget) == "60 trials, 20 % of it to confirm"
