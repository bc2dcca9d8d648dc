from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from reading import LOSS, SCORE, study, trial

from hpo.analysis.failures import causes_of
from hpo.analysis.pareto import pareto_front
from hpo.spec.domination import dominates

UNET = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}


def test_the_front_holds_what_nothing_dominates() -> None:
    values = [(0.9, 5.0), (0.8, 3.0), (0.8, 4.0), (0.7, 3.0), (0.5, 1.0), (0.5, 1.0)]
    trials = [trial(k, UNET, values={"score": s, "loss": c}) for k, (s, c) in enumerate(values)]
    trials.append(trial(9, UNET, state="PRUNED", values={"score": 1.0, "loss": 0.0}, cause="pruner"))
    front = pareto_front(study(trials, metrics=(SCORE, LOSS)))
    assert [t.number for t in front] == [0, 1, 4, 5]  # best score first; equals stay


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=25))
def test_the_front_is_that_of_comparing_everybody_with_everybody(values: list[tuple[int, int]]) -> None:
    trials = [trial(k, UNET, values={"score": float(s), "loss": float(c)}) for k, (s, c) in enumerate(values)]
    beaten = {
        k
        for k, (score, loss) in enumerate(values)
        if any(s >= score and c <= loss and (s, c) != (score, loss) for s, c in values)
    }
    front = pareto_front(study(trials, metrics=(SCORE, LOSS)))
    assert {t.number for t in front} == set(range(len(values))) - beaten
    assert [t.values["score"] for t in front] == sorted((t.values["score"] for t in front), reverse=True)


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=25))
def test_the_front_of_three_metrics_is_that_of_comparing_everybody(values: list[tuple[int, ...]]) -> None:
    metrics = tuple(LOSS.model_copy(update={"name": name}) for name in ("a", "b", "c"))
    trials = [trial(k, UNET, values=dict(zip("abc", map(float, own), strict=True))) for k, own in enumerate(values)]
    kept = {k for k, own in enumerate(values) if not any(dominates(other, own) for other in values)}
    assert {t.number for t in pareto_front(study(trials, metrics=metrics))} == kept


def test_causes_are_counted_failures_first_and_tried_again_last() -> None:
    trials = [
        trial(0, UNET, 0.5),
        trial(1, UNET, state="PRUNED", cause="pruner"),
        trial(2, UNET, state="PRUNED", cause="pruner"),
        trial(3, UNET, state="PRUNED", cause="out_of_memory"),
        trial(4, UNET, state="FAIL", cause="timeout"),
        trial(5, UNET, state="FAIL", cause="lost", requeued=True),
        trial(6, UNET, state="FAIL", cause="lost"),  # its retries were used up: a failure
        trial(7, UNET, state="FAIL"),
    ]
    found = [(c.state, c.cause, [t.number for t in c.trials]) for c in causes_of(study(trials))]
    assert found[:3] == [("FAIL", "", [7]), ("FAIL", "lost", [6]), ("FAIL", "timeout", [4])]
    assert found[3:] == [("PRUNED", "pruner", [1, 2]), ("PRUNED", "out_of_memory", [3]), ("FAIL", "lost", [5])]
    assert "no reason was recorded" in causes_of(study(trials))[0].meaning
