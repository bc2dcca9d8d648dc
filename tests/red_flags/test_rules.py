"""Each built-in red flag over curves made by hand, and from when on and how often a rule must hold."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hpo.machine.memory import host_memory, reset_peak
from hpo.red_flags.condition import FUNCTIONS
from hpo.red_flags.definitions import BUILT_IN, RedFlag, read_flags
from hpo.red_flags.monitor import GIB, OWN_NAMES, Raised, RedFlagMonitor, raised_from, unreported_names
from hpo.red_flags.rules import RULES
from hpo.storage.history import Step
from hpo.trial import Usage

NAN, INF = math.nan, math.inf


def flag(**written: Any) -> RedFlag:
    found, problems = read_flags([written])
    assert problems == []
    return found[0]


def watch(written: dict[str, Any], params: dict[str, Any] | None = None, **constants: Any) -> RedFlagMonitor:
    return RedFlagMonitor([flag(**written)], params or {}, constants, "score", True)


def raised(written: dict[str, Any], curves: dict[str, list[float | None]], **params: Any) -> Raised | None:
    """What the rule says of metrics by epoch, counted from 1; None: not reported."""
    one = watch(written, params)
    length = max(map(len, curves.values()))
    for epoch in range(length):
        metrics = {name: values[epoch] for name, values in curves.items() if values[epoch] is not None}
        one.observe_earlier([(epoch + 1, metrics)])
    return one.raised[0] if one.raised else None


def step_of(written: dict[str, Any], curves: dict[str, list[float | None]], **params: Any) -> int | None:
    found = raised(written, curves, **params)
    return None if found is None else found.step


def test_every_rule_that_can_be_written_is_there() -> None:
    assert set(BUILT_IN) == set(RULES)
    for name, rule in BUILT_IN.items():
        limit = {rule.needs[0]: 1} if rule.needs else {}
        words = flag(name=name, **limit).words
        assert "{" not in words
        assert words.endswith("stops the trial"), words


def test_non_finite() -> None:
    found = raised({"name": "non_finite"}, {"train_loss": [1.0, NAN], "val_loss": [1.0, INF], "lr": [NAN, NAN]})
    assert found is not None
    assert found.reason == "red flag 'non_finite' at epoch 2: train_loss is nan, val_loss is inf"
    assert found.data()["evidence"] == {"metrics": {"train_loss": "nan", "val_loss": "inf"}, "since": 2}
    assert step_of({"name": "non_finite"}, {"score": [1.0, 2.0, NAN]}) == 3  # the study's first metric
    assert step_of({"name": "non_finite"}, {"other": [NAN]}) is None
    assert step_of({"name": "non_finite", "metrics": ["other"]}, {"other": [NAN], "loss": [1.0]}) == 1


def test_collapsed_waits_for_its_epoch_and_asks_the_ranking() -> None:
    zeros: list[float | None] = [0.0] * 8
    assert step_of({"name": "collapsed"}, {"train_recall": zeros, "val_recall": zeros}) == 5
    assert step_of({"name": "collapsed"}, {"train_recall": [0.5] * 8, "val_recall": zeros}) == 5
    assert step_of({"name": "collapsed"}, {"train_recall": zeros, "val_recall": [0.1] * 8}) is None
    assert step_of({"name": "collapsed"}, {"recall": zeros}) == 5
    assert step_of({"name": "collapsed"}, {"val_predicted_positive": [1.0] * 8, "val_recall": [1.0] * 8}) == 5
    assert step_of({"name": "collapsed"}, {"val_recall": zeros, "val_auc": [0.5] * 6 + [0.8, 0.8]}) == 5
    # It ranks well: the threshold is to blame.
    assert step_of({"name": "collapsed"}, {"val_recall": zeros, "val_auc": [0.66] * 8}) is None
    assert step_of({"name": "collapsed"}, {"val_recall": zeros, "train_auc": [0.71] * 5 + [0.6] * 3}) == 7
    assert step_of({"name": "collapsed", "margin": 0.3}, {"val_recall": zeros, "val_auc": [0.71] * 8}) == 5
    assert step_of({"name": "collapsed", "metrics": "val_jaccard"}, {"val_jaccard": zeros}) == 5
    # What is 0 where nothing is found is known by its name; an average precision is a ranking.
    assert step_of({"name": "collapsed"}, {"val_dice": zeros, "val_f1": [NAN] * 8}) == 5
    assert step_of({"name": "collapsed"}, {"val_recall": zeros, "val_average_precision": [0.03] * 8}) == 5
    # It ranks better from epoch to epoch, though not well yet.
    rising: list[float | None] = [0.56, 0.561, 0.57, 0.588, 0.598, 0.605, 0.616, 0.636]
    assert step_of({"name": "collapsed"}, {"val_recall": zeros, "val_precision": zeros, "val_auc": rising}) is None
    assert (
        step_of({"name": "collapsed"}, {"val_recall": zeros, "val_auc": [0.5, 0.51, 0.49, 0.5, 0.52, 0.5, 0.51, 0.5]})
        == 5
    )


def test_rising() -> None:
    falling_then = [5.0, 4.0, 3.0, 2.0, 1.0, 1.1, 1.3, 1.6, 2.0]
    found = raised({"name": "rising"}, {"val_loss": [*falling_then]})
    assert found is not None
    assert (found.step, found.evidence) == (8, {"metrics": {"val_loss": 1.6}, "since": 8, "from": 1.0, "epochs": 3})
    assert step_of({"name": "rising", "epochs": 4}, {"val_loss": [*falling_then]}) == 9
    # As large as the noise: not a rise.
    assert step_of({"name": "rising"}, {"val_loss": [1, 3, 1, 3, 1, 3, 1, 1.1, 1.2, 1.3]}) is None


def test_no_improvement_against_the_first_epoch() -> None:
    worse: list[float | None] = [0.5, 0.4, 0.45, 0.41, 0.44, 0.42, 0.43, 0.42, 0.43]
    found = raised({"name": "no_improvement"}, {"score": worse})
    assert found is not None
    assert (found.step, found.evidence["first"], found.evidence["best"]) == (8, 0.5, 0.45)
    assert step_of({"name": "no_improvement"}, {"score": [0.5, 0.4, 0.9, *worse[3:]]}) is None
    loss = {"name": "no_improvement", "metric": "val_loss"}
    assert step_of(loss, {"val_loss": [1.0 + 0.1 * k for k in range(9)]}) == 8
    assert step_of(loss, {"val_loss": [1.0 - 0.1 * k for k in range(9)]}) is None


def test_gradients() -> None:
    assert step_of({"name": "exploding_gradient", "above": 10}, {"gradient_norm": [11, 1, 11, NAN]}) == 4
    assert step_of({"name": "exploding_gradient"}, {"gradient_norm": [9e3] * 5}) is None
    assert step_of({"name": "vanishing_gradient"}, {"gradient_norm": [1e-8] * 5}) == 3
    assert step_of({"name": "vanishing_gradient"}, {"gradient_norm": [NAN] * 5}) is None


def test_a_component_of_the_loss_dominates() -> None:
    rule = {"name": "dominating_component", "components": ["a", "b", "c"], "ratio": 100, "from_epoch": 0}
    curves: dict[str, list[float | None]] = {"train_a": [200.0] * 3, "train_b": [1.0] * 3, "train_c": [1.0] * 3}
    found = raised(rule, curves)
    assert found is not None
    assert (found.step, found.evidence["component"], found.evidence["ratio"]) == (2, "train_a", 200.0)
    assert step_of(rule, curves, weight_a=0.1) is None  # 20 to 1
    assert step_of(rule, curves, loss_weights={"a": 0.1, "b": 1.0, "c": 1.0}) is None
    assert step_of({**rule, "ratio": 201}, curves) is None
    by_name: dict[str, list[float | None]] = {"train_loss": [5.0] * 4, "x_loss": [5e3] * 4, "y_loss": [1.0] * 4}
    assert step_of({"name": "dominating_component"}, by_name) == 3


def test_overfitting() -> None:
    train: list[float | None] = [1 / (k + 1) for k in range(20)]
    val: list[float | None] = [1 / (k + 1) + 0.02 * max(0, k - 6) for k in range(20)]
    found = raised({"name": "overfitting"}, {"train_loss": train, "val_loss": val})
    assert found is not None
    assert found.step >= 8
    assert found.evidence["lowest_at"] in (7, 8)
    assert step_of({"name": "overfitting"}, {"train_loss": train, "val_loss": train}) is None


def test_inert_ghm() -> None:
    assert step_of({"name": "inert_ghm"}, {"train_ghm_inert": [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]}) == 6
    assert step_of({"name": "inert_ghm", "metric": "share", "for_epochs": 1}, {"share": [0.89, 0.9, 0.95]}) == 3


def test_time_and_memory() -> None:
    slow = watch({"name": "too_slow", "seconds": 10, "epoch_seconds": 4})
    assert slow.observe(1, {"loss": 1.0}, 4.0, Usage()) == []
    (found,) = slow.observe(2, {"loss": 1.0}, 8.5, Usage())
    assert found.evidence == {"metrics": {"epoch_seconds": 4.5}, "since": 2, "limit": 4.0}
    whole = RedFlagMonitor([flag(name="too_slow", seconds=10)], {}, {}, "score", True, started=100.0, seconds=6.0)
    assert whole.observe(1, {"loss": 1.0}, 103.0, Usage()) == []
    assert [each.name for each in whole.observe(2, {"loss": 1.0}, 105.0, Usage())] == ["too_slow"]  # 6 + 5 s
    memory = watch({"name": "too_much_memory", "gib": 2, "gpu": 0.5})
    assert memory.observe(1, {}, 0.0, Usage()) == []  # nobody knows
    assert memory.observe(2, {}, 0.0, Usage(0.5, 2 * GIB)) == []
    (found,) = memory.observe(3, {}, 0.0, Usage(0.6, GIB))
    assert found.reason == "red flag 'too_much_memory' at epoch 3: it holds 0.6 of its GPU's memory, above 0.5"


def test_the_peak_of_this_process_starts_anew() -> None:
    block = bytearray(b"x") * (300 * 2**20)
    most = host_memory()
    del block
    reset_peak()
    assert most > 300 * 2**20
    assert host_memory() < most - 200 * 2**20


def test_diverged_after_unfreezing() -> None:
    rule = {"name": "diverged_after_unfreezing"}
    curve: list[float | None] = [3.0, 2.0, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert step_of(rule, {"val_loss": curve}, unfreeze_epoch=4) == 6
    assert step_of(rule, {"val_loss": curve}, unfreeze_epoch=5) == 7
    assert step_of(rule, {"val_loss": curve}) is None  # nothing is frozen
    assert step_of({**rule, "at": 4}, {"val_loss": curve}) == 6
    # A dip that begins high and does not pass where it was before.
    assert step_of(rule, {"val_loss": [9.0, 8.0, 7.0, 1.0, 1.5, 2.0, 2.5]}, unfreeze_epoch=4) is None


def test_a_condition_sees_metrics_then_parameters_then_the_trial() -> None:
    written = {"name": "a", "when": "recall < alpha and epoch >= depth and epochs == 9"}
    found = watch(written, {"alpha": 0.5, "loss": "bce"}, depth=2, epochs=9)
    assert found.observe_earlier([(1, {"recall": 0.1})]) == []
    (one,) = found.observe_earlier([(2, {"recall": 0.1})])
    assert one.evidence["metrics"] == {"recall": 0.1, "alpha": 0.5, "epoch": 2.0, "depth": 2.0, "epochs": 9.0}
    shadowed = watch({"name": "a", "when": "alpha == 1"}, {"alpha": 0.5})
    assert len(shadowed.observe_earlier([(1, {"alpha": 1.0})])) == 1


def test_from_when_on_and_how_often() -> None:
    rule = {"name": "a", "when": "x == 0", "from_epoch": 3, "for_epochs": 2}
    assert step_of(rule, {"x": [0, 0, 0, 0]}) == 4  # those before do not count
    assert step_of(rule, {"x": [0, 0, 0, 1, 0, 0]}) == 6
    found = raised(rule, {"x": [0, 0, 0, None, 0], "y": [1, 1, 1, 1, 1]})  # passed over
    assert found is not None
    assert (found.step, found.evidence["since"]) == (5, 3)


def test_epochs_may_count_from_what_a_parameter_says() -> None:
    rule = {"name": "a", "when": "x == 0", "from_epoch": 2, "after": ["warmup", "unfreeze"]}
    zeros: dict[str, list[float | None]] = {"x": [0.0] * 9}
    assert step_of(rule, zeros) == 2
    assert step_of(rule, zeros, warmup=3, unfreeze=1) == 5
    assert flag(**rule).words == "x == 0, from epoch 2 after warmup and unfreeze on: stops the trial"
    assert flag(**rule).data() == rule


def test_each_rule_is_raised_once_and_a_repeated_step_is_none() -> None:
    one = watch({"name": "a", "when": "x == 0", "for_epochs": 2, "action": "warn"})
    assert one.observe_earlier([(1, {"x": 0.0}), (1, {"x": 0.0})]) == []
    assert len(one.observe_earlier([(2, {"x": 0.0}), (3, {"x": 0.0}), (4, {"x": 0.0})])) == 1
    assert one.stopping is None


def test_evidence_survives_json() -> None:
    found = raised({"name": "non_finite"}, {"loss": [-INF]})
    assert found is not None
    again = raised_from(json.loads(json.dumps(found.data(), allow_nan=False)))
    assert (again.name, again.step, again.evidence["metrics"]) == ("non_finite", 1, {"loss": "-inf"})


def test_a_rule_that_never_spoke_is_named() -> None:
    flags = [flag(name="a", when="train_recal == 0"), flag(name="b", when="epoch > lr"), flag(name="collapsed")]
    (said,) = unreported_names(flags, ["train_recall", "val_recall"], ["lr"])
    assert said == (
        "red flag 'a': no trial reported 'train_recal'; reported are train_recall, val_recall. "
        "Did you mean 'train_recall'?"
    )
    assert unreported_names(flags, [], ["lr"]) == []  # nothing has run
    stems = flag(name="dominating_component", components=["signal", "class"])
    assert unreported_names([stems], ["train_signal", "train_class"], []) == []


names = st.sampled_from(["loss", "val_loss", "train_loss", "val_recall", "train_auc", "gradient_norm", "score"])


@given(st.lists(st.dictionaries(names, st.floats()), max_size=15))
def test_no_rule_raises_whatever_is_reported(reports: list[dict[str, float]]) -> None:
    written = [{"name": name, **({rule.needs[0]: 1} if rule.needs else {})} for name, rule in BUILT_IN.items()]
    flags, problems = read_flags(written)
    assert problems == []
    one = RedFlagMonitor(flags, {"unfreeze_epoch": 3}, {}, "score", True)
    for epoch, metrics in enumerate(reports):
        one.observe(epoch, metrics, float(epoch), Usage(0.5, GIB))
    assert len({each.name for each in one.raised}) == len(one.raised)
    json.dumps([each.data() for each in one.raised], allow_nan=False)


def test_steps_of_a_history_can_be_replayed() -> None:
    one = watch({"name": "a", "when": "x > 1"})
    steps = [Step(1, 0.0, 1, {"x": 0.0}), Step(2, 1.0, 1, {"x": 2.0})]
    assert [each.step for each in one.observe_earlier((step.step, step.metrics) for step in steps)] == [2]


def test_every_rule_and_its_parameters_are_in_the_reference() -> None:
    reference = (Path(__file__).parents[2] / "docs" / "study-yaml.md").read_text()
    rows = {line.split("`")[1]: line for line in reference.splitlines() if line.startswith("| `")}
    for name, rule in BUILT_IN.items():
        for option in rule.options:
            assert f"`{option}" in rows[name], (name, option)
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "red-flags.md").read_text()
    assert [name for name in FUNCTIONS if f"`{name}(" not in guide] == []
    assert [name for name in OWN_NAMES if f"`{name}`" not in guide] == []
