"""`hpo import`: finished trials of other tools, brought into a study."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpo.cli.common import follow_up, runs_option
from hpo.cli.output import echo, say
from hpo.text import count, listing, redact

if TYPE_CHECKING:
    from hpo.transfer.source import Source
    from hpo.transfer.table_source import Reading

F = TypeVar("F", bound=Callable[..., Any])


def _pairs(_context: click.Context, option: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if wrong := [name for name, sign, value in pairs if not sign or not name or not value]:
        raise click.BadParameter(f"'{wrong[0]}' is not NAME=VALUE", param=option)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _names(_context: click.Context, _option: click.Parameter, given: Sequence[str]) -> list[str]:
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def _shared_options(command: F) -> F:
    """Add the options of every source, passed on as keywords."""
    path = click.Path(dir_okay=False, path_type=Path)
    options = (
        click.option("--study", type=path, metavar="FILE", help="The study.yaml; written if it is not there.  "
                     "[default: one named after the source, here]"),
        click.option("--new-name", default="", metavar="NAME", help="Another name for the study."),
        click.option("--metric", "metrics", multiple=True, metavar="NAME[:minimize|maximize]",
                     help="The metric that was optimized, where the source does not say it."),
        click.option("--rename", "names", multiple=True, metavar="THERE=HERE", callback=_pairs,
                     help="A parameter or metric that the study calls otherwise."),
        click.option("--fill", multiple=True, metavar="NAME=VALUE", callback=_pairs,
                     help="The value of a parameter in trials that lack it."),
        click.option("--ignore", "ignored", multiple=True, metavar="NAMES", callback=_names,
                     help="Parameters to pass over that the study does not have, such as output_dir,data.*"),
        click.option("--leave-out", is_flag=True, help="Import the trials that fit, and leave out the others."),
        runs_option,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _table_options(command: F) -> F:
    """Add the options of tables, passed on as keywords."""
    options = (
        click.option("--params", multiple=True, metavar="NAMES", callback=_names,
                     help="The columns that are parameters, such as lr,batch_size.  [default: by their names]"),
        click.option("--trial-column", default="", metavar="NAME", help="The column that tells trials apart.  "
                     "[default: trial, number, trial_id, run_id, ...]"),
        click.option("--step-column", default="", metavar="NAME", help="The column of the steps, of a table with a "
                     "row a step.  [default: step, epoch, ...]"),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group(
    "import",
    epilog="""\b
Examples:
  hpo import optuna sqlite:///old.db my-study      writes my-study.yaml, and imports
  hpo import optuna old.log --study study.yaml     into the study of that file
  hpo import mlflow sqlite:///mlflow.db lr-search --metric val_auc:maximize
  hpo import csv results.csv --metric val_loss --params lr,batch_size
  hpo import wandb-csv wandb_export.csv --study study.yaml --ignore '*'

\b
What comes in is for reports, for warm starts, and to go on with `hpo run`: the sampler learns
from it. No time, GPU hour or budget of the study counts it. The same command again imports
what is new. `hpo import optuna --help` shows all options.
""",
)
@click.option("--runs", metavar="DIR", help="Folder of all studies; it may also stand behind the source.")
@click.pass_context
def import_(context: click.Context, runs: str | None) -> None:
    """Import finished trials of Optuna, MLflow, CSV or W&B."""
    if runs is not None:
        context.default_map = {name: {"runs": runs} for name in import_.commands}


@import_.command(
    epilog="""\b
Examples:
  hpo import optuna sqlite:///old.db my-study
  hpo import optuna postgresql://ann@db/optuna my-study --study study.yaml
  hpo import optuna optuna-journal.log             its only study
  hpo import optuna old.db s --metric val_auc      calls Optuna's value so
"""
)
@click.argument("url")
@click.argument("study_there", metavar="[STUDY]", required=False)
@_shared_options
def optuna(url: str, study_there: str | None, **said: Any) -> None:
    """Import a study of Optuna's.

    URL is its storage: sqlite:///FILE, journal:FILE, the path of such a file, or another URL that Optuna opens. States,
    parameters, intermediate values and times come from there; without a study.yaml the ranges do too.
    """
    from hpo.transfer.optuna_source import read_optuna

    _import(lambda _: read_optuna(url, study_there), None, **said)


@import_.command(
    epilog="""\b
Examples:
  hpo import mlflow sqlite:///mlflow.db lr-search --metric val_auc:maximize
  hpo import mlflow http://127.0.0.1:5000 lr-search --study study.yaml --ignore '*'
"""
)
@click.argument("uri")
@click.argument("experiment")
@_shared_options
def mlflow(uri: str, experiment: str, **said: Any) -> None:
    """Import the runs of an experiment of MLflow's.

    URI is the tracking URI, or the path of a SQLite file. The history of every metric comes in with its steps and
    times; the last value of each is the final one. Runs that hold other runs are no trials.
    """
    from hpo.transfer.mlflow_source import read_mlflow

    _import(lambda _: read_mlflow(uri, experiment), None, **said)


@import_.command(
    "csv",
    epilog="""\b
Examples:
  hpo import csv results.csv --metric val_loss:minimize
  hpo import csv epochs.csv --trial-column run --step-column epoch --metric val_auc
  hpo import csv exported/                         of `hpo export --csv exported/`
  hpo import csv trials.csv --study study.yaml     also Optuna's trials_dataframe().to_csv
""",
)
@click.argument("file", type=click.Path(path_type=Path))
@_table_options
@_shared_options
def from_csv(file: Path, **said: Any) -> None:
    """Import a CSV file: a row a trial, or a row for each step of each trial.

    Columns are recognised by their names: params_X, config/X and what the study calls so are parameters, values_X and
    names that sound like a metric are metrics; state, started and seconds are what they say.
    """
    from hpo.transfer.table_source import exported_name, read_csv

    _import(lambda reading: read_csv(file, reading), exported_name(file), **said)


@import_.command(
    epilog="""\b
Examples:
  hpo import wandb-csv wandb_export.csv --metric val_auc:maximize --params lr,batch_size
  hpo import wandb-csv wandb_export.csv --study study.yaml --ignore '*'
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@_table_options
@_shared_options
def wandb_csv(file: Path, **said: Any) -> None:
    """Import the runs table of a W&B project, exported as CSV.

    State, Runtime, Created and ID are taken as such; config.X.value is the parameter X. A table does not say which of
    its other columns are parameters: --params does, or a study.yaml.
    """
    from hpo.transfer.table_source import read_wandb_csv

    _import(lambda reading: read_wandb_csv(file, reading), file.absolute().stem, **said)


def _import(read: Callable[[Reading], Source], called: str | None, *, runs: Path, **said: Any) -> None:
    from hpo.transfer.import_trials import Wanted, import_trials
    from hpo.transfer.table_source import Reading

    reading = Reading(
        params=said.pop("params", ()),
        ignored=said["ignored"],
        trial=said.pop("trial_column", ""),
        step=said.pop("step_column", ""),
    )
    wanted = Wanted(name=said.pop("new_name"), reading=reading, **said)
    context = click.get_current_context()
    command = redact(shlex.join(context.find_root().obj or ("hpo", "import")))
    result = import_trials(read, called, wanted, runs, command, lambda text: echo(text, err=True))
    for note in result.notes:
        echo(note, err=True)
    states = listing(
        f"{n} {word}" for n, word in zip(result.states.values(), ("complete", "pruned", "failed"), strict=True)
    )
    before = f"; {result.known} were there already" if result.known else ""
    out = f"; {result.left_out} left out" if result.left_out else ""
    say(f"study '{result.study}' has {count(result.new, 'new trial')}{before}{out} (of this source: {states})")
    name = shlex.quote(result.study)
    go_on = follow_up(f"run {shlex.quote(str(result.yaml))}", runs)
    say(f"`{follow_up(f'report {name}', runs)}` shows them, `{go_on}` goes on")
