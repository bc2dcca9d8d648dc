"""A trial that costs nothing, ten reports of a parabola, and a study of such trials."""

from __future__ import annotations

from hpo import Trial

STUDY = """
name: {name}
objective: {objective}:train
metrics: [{{name: score, direction: maximize}}]
search_space: {{x: {{low: 0.0, high: 1.0}}, y: {{low: 1.0e-4, high: 10.0, log: true}}}}
sampler: {{name: tpe, multivariate: true, group: true, constant_liar: true}}
pruner: {{name: none}}
budget: {{trials: {trials}}}
engine: {{name: {engine}, workers: 2, cpu: 1}}
mlflow: {tracked}
"""


def study_yaml(name: str, trials: int, tracked: bool = False, engine: str = "local") -> str:
    """study.yaml of so many trials on two workers."""
    return STUDY.format(name=name, objective=__file__, trials=trials, tracked=str(tracked).lower(), engine=engine)


def train(trial: Trial) -> dict[str, float]:
    score = -((trial.params["x"] - 0.3) ** 2) - (trial.params["y"] - 2) ** 2
    for step in range(10):
        trial.report(step, score=score - 1 / (step + 1))
    return {"score": score}
