"""`hpo check`: validate a study and print its plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo.analysis.formatting import number
from hpo.cli.common import (
    aligned,
    emit,
    json_option,
    labelled,
    runs_option,
    set_option,
    study_file_argument,
    trials_option,
)
from hpo.cli.output import echo
from hpo.text import count, show

if TYPE_CHECKING:
    from hpo.actions.plan import Plan


@click.command(
    epilog="""\b
Examples:
  hpo check study.yaml
  hpo check study.yaml --import                   import the objective too
  hpo check study.yaml --data                     load its data too, and say what they are
  hpo check study.yaml --trials 3 --set constants.epochs=2
                                                  with the overrides of a run
  hpo check study.yaml --set sampler=grid         how many cells would it have?
  hpo check study.yaml --json | jq .grid

\b
Exit code: 0 all is right (warnings are no errors), 2 the study is wrong.
""",
)
@study_file_argument
@set_option
@trials_option
@click.option(
    "--import",
    "import_objective",
    is_flag=True,
    help="Also import the objective, and classes of samplers and pruners; this runs their code.",
)
@click.option(
    "--data",
    "with_data",
    is_flag=True,
    help="Also load the data, in a process of its own, if the objective has a function check_data.",
)
@runs_option
@json_option
def check(
    study: str,
    overrides: tuple[str, ...],
    trials: int | None,
    import_objective: bool,
    with_data: bool,
    runs: Path,
    as_json: bool,
) -> int:
    """Validate a study and print its plan; nothing is run.

    The objective is located, and so are classes of samplers and pruners. They are imported only with --import. What
    `hpo run` would refuse is refused here too: a study of that name with another search, a storage that cannot be
    opened, a folder that cannot be written.
    """
    from hpo.actions.check_data import check_data
    from hpo.actions.obstacles import lacking_here, refuse_unstartable
    from hpo.actions.plan import plan
    from hpo.spec.load import load_with_hints

    settings = overrides if trials is None else (*overrides, f"budget.trials={trials}")
    spec, hints = load_with_hints(study, settings)
    found = plan(spec, import_objective, runs, (*hints, *lacking_here(spec, runs)))
    refuse_unstartable(spec, runs)
    data = check_data(spec) if with_data else ()
    if as_json:
        emit(found.data() | ({"data": data} if with_data else {}))
    else:
        lines = [("" if index else "data", line) for index, line in enumerate(data)]
        echo("\n\n".join([_text(found), *([labelled(lines)] if lines else [])]))
    return 0


def _text(plan: Plan) -> str:
    cells = (
        f"none, since {', '.join(plan.endless)} can have any value" if plan.grid is None else count(plan.grid, "cell")
    )
    blocks = [
        labelled(
            [
                ("study", f"{plan.name} ({plan.source})"),
                ("objective", plan.objective),
                ("found at", f"{plan.location}{' (imported)' if plan.imported else ''}"),
                ("metrics", ", ".join(plan.metrics)),
                *([("groups", plan.groups)] if plan.groups else []),
            ]
        ),
        _parameters(plan),
        _samples(plan),
        labelled(
            [
                ("grid", cells),
                ("sampler", plan.sampler),
                *(("" if index else "population", words) for index, words in enumerate(plan.population)),
                ("pruner", plan.pruner),
                *(("" if index else "red flags", words) for index, words in enumerate(plan.red_flags or ("none",))),
                ("first", plan.first),
                ("budget", plan.budget),
                ("seed", str(plan.seed)),
                ("engine", plan.engine),
                ("results", plan.directory),
                ("storage", plan.storage),
                ("mlflow", plan.mlflow),
            ]
        ),
    ]
    if plan.warm_start:
        blocks.append("\n".join(plan.warm_start))
    if plan.warnings:
        blocks.append("\n".join(f"warning: {warning}" for warning in plan.warnings))
    return "\n\n".join(blocks)


def _parameters(plan: Plan) -> str:
    header = ("parameter", "type", "distribution", "only where", "")
    rows = [
        (row.name, row.kind, row.distribution, row.condition, "structural" if row.structural else "")
        for row in plan.parameters
    ]
    columns = list(zip(header, *rows, strict=True))
    # A column that no parameter uses is left out.
    used = [column for column in columns if any(column[1:])]
    return "\n".join(aligned(zip(*used, strict=True)))


def _samples(plan: Plan) -> str:
    """Return configurations as columns under their parameters' names, as the objective would be given them."""
    names = list(dict.fromkeys(row.name for row in plan.parameters))
    rows = [[_cell(sample[name]) if name in sample else "-" for name in names] for sample in plan.samples]
    columns = [[name, *(row[index] for row in rows)] for index, name in enumerate(names)]
    return "drawn from the space:\n" + "\n".join(f"  {line}" for line in aligned(columns))


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_cell(weight)}" for name, weight in value.items())
    return number(value) if isinstance(value, float) else show(value)
