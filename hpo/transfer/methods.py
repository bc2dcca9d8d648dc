"""The paragraph on methods of a paper: sentences whose every number is one that the study holds.

What the study does not hold is not said. Nothing is taken from the machine on which the paragraph is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import optuna

from hpo.analysis.confirmation import confirmation_of, own_race
from hpo.analysis.formatting import configuration, duration, label, listed, number
from hpo.analysis.importance import METHOD, importance
from hpo.analysis.lineages import is_population, searched
from hpo.analysis.records import StudyRecord
from hpo.analysis.statistics.anova import anova
from hpo.analysis.statistics.pairwise import pairwise
from hpo.spec.models import StudySpec
from hpo.spec.wording import algorithm_text, budget_text, sampler_text
from hpo.storage.budget import wall_seconds
from hpo.storage.provenance import CODE, ENVIRONMENT, recorded
from hpo.text import count
from hpo.trial import OUT_OF_MEMORY, PRUNER, RED_FLAG

# Packages whose versions belong into a paper, where they were installed beside the objective.
_PACKAGES = ("hpo", "optuna", "torch", "tensorflow", "keras", "jax", "lightning", "scikit-learn", "xgboost", "lightgbm")
_CAUSES = {PRUNER: "by the pruner", RED_FLAG: "by a red flag", OUT_OF_MEMORY: "out of memory"}


def methods(study: StudyRecord, stored: optuna.Study) -> list[str]:
    """Return the sentences, in English.

    Args:
        study: The study.
        stored: The same, as its storage has it.
    """
    spec = study.spec
    if spec is None:
        return []
    race = own_race(study) is not None  # which searches nothing
    sentences = [
        *(() if race else _space(study, spec)),
        *(() if race else _search(study, spec)),
        *_trials(study),
        *_imported(study),
        *_budget(study, spec),
        *_seeds(study, spec),
        *_confirmation(study),
        *_statistics(study),
        *_machine(study, stored),
    ]
    return [sentence for sentence in sentences if sentence]


def _space(study: StudyRecord, spec: StudySpec) -> Iterator[str]:
    goals = listed(f"{metric.direction} {metric.name}" for metric in study.metrics)
    apart = f", separately for each {study.group_by}" if study.group_by else ""
    walked = [one for one in study.space.walk() if one.kind != "fixed"]
    yield f"Hyperparameters were searched to {goals}{apart}."
    described = (
        f"{one.name} ({one.distribution}{f'; only if {one.condition_text}' if one.condition else ''})" for one in walked
    )
    yield f"The search space had {count(len(walked), 'parameter')}: {listed(described)}."
    if spec.constants:
        yield f"Fixed for all trials: {configuration(spec.constants)}."


def _search(study: StudyRecord, spec: StudySpec) -> Iterator[str]:
    if not study.trained:
        return
    pruner = algorithm_text(spec.pruner)
    stopped = "no trial was pruned" if spec.pruner.name == "none" else f"the pruner was {pruner}"
    yield f"The sampler was {sampler_text(spec, study.noted_samplers)}; {stopped}."
    sources = Counter(trial.source for trial in study.trained)
    named = {"enqueue": "given by hand", "warm_start": "taken from earlier studies", "fallback": "fallbacks"}
    parts = [f"{sources[source]} {words}" for source, words in named.items() if sources[source]]
    if parts:
        yield f"Of the configurations, {listed(parts)}; the others were proposed by the sampler."
    if spec.red_flags:
        yield f"Red flags watched each trial: {listed(flag.name for flag in spec.red_flags)}."


def _trials(study: StudyRecord) -> Iterator[str]:
    own = study.trained
    if not own:
        return
    states = Counter(trial.state for trial in own)
    causes = Counter(_CAUSES.get(trial.cause, "for another reason") for trial in own if trial.state == "PRUNED")
    why = f" ({listed(f'{n} {cause}' for cause, n in causes.most_common())})" if causes else ""
    again = sum(trial.requeued for trial in study.trials)
    repeated = (
        f" {count(again, 'attempt')} lost, interrupted or promoted did not count and {_was(again)} gone on with."
        if again
        else ""
    )
    yield (
        f"{count(len(own), 'trial')} {_was(len(own))} trained: {states['COMPLETE']} completed, {states['PRUNED']} "
        f"{_was(states['PRUNED'])} stopped early{why} and {states['FAIL']} failed.{repeated}"
    )


def _imported(study: StudyRecord) -> Iterator[str]:
    if study.imported:
        sources = Counter(f"{one.imported.study} ({one.imported.kind})" for one in study.imported if one.imported)
        places = listed(f"{n} of {source}" for source, n in sources.items())
        noun = "further trial" if study.trained else "trial"
        yield (
            f"{count(len(study.imported), noun)} {_was(len(study.imported))} trained elsewhere and "
            f"imported ({places}); no time below is theirs."
        )


def _budget(study: StudyRecord, spec: StudySpec) -> Iterator[str]:
    if not study.trained:
        return
    spans = study.spans
    gpu = sum(span.gpu_seconds for span in spans)
    hours = f" and {number(gpu / 3600, 3)} GPU hours" if gpu else ""
    took = duration(wall_seconds(spans))
    yield f"The budget was {budget_text(spec.budget)}; the search took {took} of wall time{hours}."


def _seeds(study: StudyRecord, spec: StudySpec) -> Iterator[str]:
    seeds = {trial.seed for trial in study.trained if trial.seed is not None}
    if not seeds or own_race(study) is not None:
        return
    if len(seeds) == 1:
        yield f"All trials had the seed {min(seeds)}."
    else:
        yield (
            f"The {len(study.trained)} trials had {len(seeds)} different seeds, made of the study's seed {spec.seed}; "
            "each score of the search is that of one run."
        )


def _confirmation(study: StudyRecord) -> Iterator[str]:
    found = confirmation_of(study)
    if found is None or not found.trainings:
        return
    n = len(found.configurations)
    yield (
        f"{count(n, 'configuration')} {_was(n)} trained again with fresh seeds,"
        f" in {count(found.trainings, 'training')} in all."
    )
    winner = found.winner
    part = None if winner is None else winner.estimating or winner.choosing
    if winner is not None and part is not None and part.mean is not None:
        chosen = "that did not choose it" if winner.estimating else "that chose it, which favours it"
        spread = "" if part.deviation is None else f" ± {number(part.deviation)} (standard deviation)"
        interval = "" if part.low is None or part.high is None else (
            f", 95 % confidence interval of the mean {number(part.low)} to {number(part.high)}"
        )  # fmt: skip
        yield (
            f"The winner, trial {winner.trial}, had a {found.metric.name} of {number(part.mean)}{spread} over "
            f"{count(part.n, 'seed')} {chosen}{interval}."
        )


def _statistics(study: StudyRecord) -> Iterator[str]:
    if own_race(study) is not None or is_population(study):
        return
    alone = searched(study)
    metric = study.metrics[0]
    tested = anova(alone, metric)
    if tested.tested:
        terms = listed(" x ".join(term.names) for term in tested.tested)
        yield (
            f"Differences of the final {metric.name} of {tested.n} complete trials were tested by an analysis of "
            f"variance with type II sums of squares ({terms}); p values are not corrected for the number of "
            "factors."
        )
        if tested.sampler:
            yield (
                f"As the sampler {tested.sampler} chose each trial by earlier ones, the trials are not independent, "
                "and these p values are hints."
            )
    if study.group_by is not None and (pairs := pairwise(alone, metric)).pairs:
        yield f"The values of {study.group_by} were compared pair by pair by the test of {pairs.method}."
    ranked = importance(alone, metric)
    if ranked.shares:
        yield f"The importance of parameters was estimated by {METHOD} from {ranked.n} complete trials."


def _machine(study: StudyRecord, stored: optuna.Study) -> Iterator[str]:
    frozen = {trial.number: trial for trial in stored.get_trials(deepcopy=False)}
    own = [frozen[trial.number] for trial in study.trained if trial.number in frozen]
    environments = _different(recorded(study.directory, trial, ENVIRONMENT) for trial in own)
    processors, devices, threads, pythons = (
        _values(environments, key) for key in ("processor", "device", "threads", "python")
    )
    gpus = [device for device in devices if device != "cpu"]
    if processors or gpus:
        without = ", without a GPU" if devices == ["cpu"] else ""
        each = f", {listed(threads)} threads a trial" if threads else ""
        yield f"Trials ran on {listed([*processors, *gpus])}{without}{each}."
    packages = [found for one in environments if isinstance(found := one.get("packages"), Mapping)]
    versions = [f"{name} {listed(found)}" for name in _PACKAGES if (found := _values(packages, name))]
    if pythons or versions:
        yield f"Software: {listed([*(f'Python {one}' for one in pythons), *versions])}."
    states = (recorded(study.directory, one, CODE).get("git") or {} for one in own)
    if commits := list(dict.fromkeys(str(state["commit"])[:12] for state in states if state.get("commit"))):
        yield f"The code was at git commit {listed(commits)}."


def _different(records: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
    found: dict[str, Mapping[str, object]] = {repr(record): record for record in records if record}
    return list(found.values())


def _values(records: Iterable[Mapping[str, object]], key: str) -> list[str]:
    """Return the different values of a key, as texts."""
    return list(dict.fromkeys(label(record[key]) for record in records if record.get(key) not in (None, "")))


def _was(n: int) -> str:
    return "was" if n == 1 else "were"
