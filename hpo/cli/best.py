"""`hpo best`: print the best configuration as a study that trains it alone."""

from __future__ import annotations

from pathlib import Path

import click

from hpo.analysis.formatting import numbers
from hpo.cli.common import (
    emit,
    find_study,
    json_option,
    one_trial,
    runs_option,
    study_argument,
    trial_argument,
    trial_option,
)
from hpo.cli.confirm import searched_study
from hpo.cli.output import echo, echo_document


@click.command(
    epilog="""\b
Examples:
  hpo best > best.yaml && hpo run best.yaml
  hpo best quickstart 12 > twelve.yaml             trial 12 instead of the best
  hpo best --json | jq .params
"""
)
@study_argument
@trial_argument
@trial_option("The same as N: this trial instead of the best.")
@runs_option
@json_option
def best(study: str | None, trial: int | None, named: int | None, runs: Path, as_json: bool) -> None:
    """Print the best configuration, as a study of its own.

    Every parameter is fixed, the paths are absolute, and the budget is one trial. With several metrics it is the
    trial of the Pareto front that is best by the first metric. Of a study that was confirmed (`hpo confirm`) it is the
    winner; with N, trial N. STUDY is a name in the runs folder or a YAML; by default the study last driven.
    """
    from hpo.actions.best import alone, as_yaml, choose, confirmed_words
    from hpo.analysis.records import records_of
    from hpo.layout import study_directory
    from hpo.storage.load_study import load_study

    trial = one_trial(trial, named)
    name = searched_study(runs, find_study(runs, study))
    spec, stored = load_study(runs, name)
    choice = choose(records_of(stored, spec, study_directory(runs, name), histories=False), trial)
    chosen, confirmed = choice.trial, choice.confirmation
    if as_json:
        emit(
            {
                "study": name,
                "trial": chosen.number,
                "state": chosen.state,
                "values": chosen.values,
                "params": chosen.params,
                "pareto_front": choice.front or None,
                "confirmed": confirmed is not None
                and confirmed.winner is not None
                and confirmed.winner.trial == chosen.number,
                "confirmation": confirmed,
                "spec": alone(spec, chosen),
            }
        )
        return
    echo_document(as_yaml(spec, choice), nl=False)
    for sentence in confirmed_words(choice)[:1] if trial is None or confirmed is not None else ():
        echo(sentence, err=True)
    if trial is None and len(choice.front) > 1:
        echo(
            f"trial {chosen.number} of the Pareto front {numbers(choice.front)}; hpo best {name} N takes another",
            err=True,
        )
