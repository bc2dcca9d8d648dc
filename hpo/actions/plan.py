"""Plan of a study, found out without running any of it: the content of `hpo check`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import layout
from hpo.objective import load, locate
from hpo.search.samplers import make_pruner, make_sampler, warnings_for
from hpo.spec.population import is_population, population_words
from hpo.spec.wording import algorithm_text, budget_text, confirm_text, metric_text, sampler_text
from hpo.storage.open import storage_url
from hpo.storage.study_folder import beside_the_yaml
from hpo.text import count, redact
from hpo.trackers.mlflow.place import experiment_name, tracking_uri

if TYPE_CHECKING:
    from hpo.spec.models import StudySpec

SAMPLES = 3


@dataclass(frozen=True)
class Row:
    """One parameter: the objective's name for it, and Optuna's `full_name`."""

    name: str
    kind: str
    distribution: str
    condition: str
    full_name: str
    structural: bool


@dataclass(frozen=True)
class Plan:
    """A study in words.

    Attributes:
        groups: How the values of `group_by` share the budget.
        samples: Configurations drawn from the space, as the objective would be given them.
        population: What a population will do, in sentences; empty with another sampler.
        grid: Number of cells, or None if the parameters `endless` cannot be enumerated.
    """

    name: str
    source: str
    objective: str
    location: str
    imported: bool
    metrics: tuple[str, ...]
    groups: str
    parameters: tuple[Row, ...]
    samples: tuple[dict[str, Any], ...]
    grid: int | None
    endless: tuple[str, ...]
    sampler: str
    pruner: str
    red_flags: tuple[str, ...]
    warnings: tuple[str, ...]
    first: str
    warm_start: tuple[str, ...]
    population: tuple[str, ...]
    budget: str
    seed: int
    engine: str
    directory: str
    storage: str
    mlflow: str

    def data(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return asdict(self)


def plan(spec: StudySpec, import_objective: bool = False, runs: Path | None = None, hints: Sequence[str] = ()) -> Plan:
    """Return the plan of a checked study.

    Args:
        spec: The study.
        import_objective: True to import the objective, and classes of samplers and pruners; this runs their code.
        runs: Folder that the results would go below; by default the usual runs folder.
        hints: Sentences about the file, for the warnings.

    Raises:
        ObjectiveError: If the objective is not where the study says, or cannot be imported.
    """
    ref = spec.objective_ref()
    location = locate.locate(ref)
    imported = import_objective and not ref.command
    if imported:
        load.load(ref)
    if import_objective:
        make_sampler(spec, 0)
        make_pruner(spec)
    rng = random.Random(spec.seed)
    runs = layout.runs_folder(runs)
    warm_start = _warm_start(spec, runs)
    return Plan(
        name=spec.name,
        source=str(spec.source),
        objective=ref.label,
        location=str(location),
        imported=imported,
        metrics=tuple(map(metric_text, spec.metrics)),
        groups=_groups(spec),
        parameters=tuple(
            Row(p.name, p.kind, p.distribution, p.condition_text, p.full_name, p.structural) for p in spec.space.walk()
        ),
        samples=tuple(spec.space.resolve(spec.space.sample(rng)) for _ in range(SAMPLES)),
        grid=spec.space.grid_size(),
        endless=tuple(parameter.full_name for parameter, _ in spec.space.not_enumerable()),
        sampler=sampler_text(spec, reason=True),
        pruner=algorithm_text(spec.pruner),
        red_flags=tuple(f"{flag.name}: {flag.words}" for flag in spec.red_flags),
        warnings=(*hints, *warnings_for(spec), *beside_the_yaml(spec, runs)),
        first=_first(spec, bool(warm_start)),
        warm_start=warm_start,
        population=population_words(spec) if is_population(spec) else (),
        budget=_budget(spec),
        seed=spec.seed,
        engine=_engine(spec),
        directory=str(layout.study_directory(runs, spec.name)),
        storage=redact(storage_url(spec, runs)),
        mlflow=_mlflow(spec, runs),
    )


def _groups(spec: StudySpec) -> str:
    """Return how the values of `group_by` share the budget; empty without one."""
    if spec.group_by is None:
        return ""
    parts = [f"{spec.group_by}: trials of one value are compared with each other only"]
    if spec.min_complete:
        least = count(spec.min_complete, "complete trial")
        parts.append(f"the last trials go to values with fewer than {least}, and are not pruned")
    return "; ".join(parts)


def _warm_start(spec: StudySpec, runs: Path) -> tuple[str, ...]:
    from hpo.warm_start.sources import look  # optuna, which other plans need not wait for

    return tuple(look(spec, runs, storage_url(spec, runs)))


def _mlflow(spec: StudySpec, runs: Path) -> str:
    if spec.mlflow is None:
        return "no tracking"
    most = spec.mlflow.trials
    shown = "" if most is None else f", of the {most:,} best trials" if most > 1 else ", of the best trial"
    return f"{redact(tracking_uri(spec, runs))}, experiment {experiment_name(spec)}{shown}"


def _first(spec: StudySpec, warm_start: bool) -> str:
    """Return what is tried before the sampler chooses."""
    parts = [f"{len(spec.enqueue)} enqueued"] if spec.enqueue else []
    if spec.samplers[0].name == "grid":
        among = " that are not among them" if spec.enqueue else ""
        parts.append(f"the {count(spec.space.grid_size() or 0, 'cell')} of the grid{among}")
    if spec.fallbacks:
        parts.append(f"{count(len(spec.fallbacks), 'fallback')} while no trial has passed the red flags")
    if warm_start:
        from hpo.warm_start.candidates import most

        parts.append(
            f"up to {count(most(spec), 'configuration')} of earlier studies, alternating with the sampler's own"
        )
    return ", then ".join(parts) or "nothing enqueued"


def _budget(spec: StudySpec) -> str:
    failures = spec.budget.failures
    when = "the first trial fails" if failures == 1 else f"the first {failures} trials all fail"
    confirms = f"; confirms at its end: {confirm_text(spec)}" if spec.confirms else ""
    return f"{budget_text(spec.budget)}; stops when {when}{confirms}"


def _engine(spec: StudySpec) -> str:
    engine = spec.engine
    name = f"{engine.name} at {engine.address}" if engine.address else engine.name
    parts = [name, "as many workers as fit" if engine.workers is None else count(engine.workers, "worker")]
    parts += [f"{count(engine.cpu, 'CPU thread')} each"] if engine.cpu else []
    parts += [engine.gpu_text] if engine.gpu else []
    parts += [f"{engine.trial_timeout:g} s a trial at most"] if engine.trial_timeout else []
    parts += [f"{engine.report_timeout:g} s between reports at most"] if engine.report_timeout else []
    return ", ".join(parts)
