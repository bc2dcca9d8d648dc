"""`hpo continue`: train a trial on from its last checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo.cli.common import emit, find_study, follow_up, json_option, metrics_text, runs_option
from hpo.cli.complete import study_names, trial_numbers
from hpo.cli.display import Display, display_options
from hpo.cli.drive import command_line
from hpo.cli.output import say
from hpo.errors import HpoError
from hpo.text import redact

if TYPE_CHECKING:
    from hpo.actions.continue_trial import Continued

FAILED, INTERRUPTED = 1, 130


@click.command(
    "continue",
    epilog="""\b
Examples:
  hpo continue quickstart 17 --epochs 100              on to epoch 100
  hpo continue quickstart 17 --epochs 100 --set learning_rate=1e-4
  hpo continue quickstart 17 --epochs 60 --set constants.patience=20
  hpo continue quickstart 9                            a pruned trial, on to its end

\b
The new trial's curve begins with that of trial N; its lineage ("continues 17
from epoch 20") is in its history, in MLflow and in the report. The budget
grows by one trial. Interrupted or killed: the same command goes on.
Exit code: 0 it completed, 1 it failed or was stopped, 2 the trial has nothing
to go on from or a value does not fit, 3 the study is running, 130 interrupted.
""",
)
@click.argument("study", shell_complete=study_names)
@click.argument("trial", type=click.IntRange(min=0), metavar="N", shell_complete=trial_numbers)
@click.option("--epochs", type=click.IntRange(min=1), metavar="EPOCHS", help="Epochs in all.")
@click.option(
    "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Another value of a parameter or constants.NAME."
)
@runs_option
@json_option
@display_options
@click.pass_context
def continue_(
    context: click.Context,
    study: str,
    trial: int,
    epochs: int | None,
    overrides: tuple[str, ...],
    runs: Path,
    as_json: bool,
    quiet: bool,
    log_file: Path | None,
) -> int:
    """Train a trial on from its last checkpoint, as a new trial.

    STUDY is a name in the runs folder or a YAML. Trial N has completed, or was pruned, and its checkpoint was kept:
    that of the best trials is, with `checkpoints: {keep_best: all}` that of every one.
    """
    from hpo.actions.continue_trial import continue_trial

    name = find_study(runs, study)
    yaml = Path(study) if study.endswith((".yaml", ".yml")) and Path(study).is_file() else None
    display = Display(sys.stderr, command_line(context), quiet, log_file)
    try:
        found = continue_trial(runs, name, trial, epochs, overrides, lambda spec: display.trackers(spec, runs), yaml)
    except HpoError as error:
        display.ends(redact(str(error)))
        raise
    finally:
        display.close()
    code = _code(found)
    display.ends(f"{_text(name, runs, found)} (exit code {code})")
    if as_json:
        emit(_document(name, found, code))
    else:
        say(_text(name, runs, found))
    return code


def _code(found: Continued) -> int:
    if found.result.interrupted:
        return INTERRUPTED
    return 0 if found.trial is not None and found.trial.state == "COMPLETE" else FAILED


def _text(name: str, runs: Path, found: Continued) -> str:
    trial, parent = found.trial, found.parent
    if found.result.interrupted or trial is None or trial.continued is None:
        return f"interrupted; the same command goes on with trial {parent.number} of study '{name}'"
    lineage = f"trial {trial.number} of study '{name}' continues {parent.number} from epoch {trial.continued.start}"
    last = max((step.step for step in trial.history), default=trial.continued.start)
    if trial.state != "COMPLETE":
        return f"{lineage}; it is {trial.state} at epoch {last}: {trial.reason}"
    names = [metric for metric in parent.values if metric in trial.values]
    before = f" (was {metrics_text({one: parent.values[one] for one in names})})" if names else ""
    values = metrics_text(trial.values)
    report = follow_up(f"report {name}", runs)
    return f"{lineage} to epoch {last}: {values}{before}\nreport     {found.result.directory} (`{report}`)"


def _document(name: str, found: Continued, code: int) -> dict[str, object]:
    trial = found.trial
    return {
        "study": name,
        "parent": found.parent.number,
        "trial": None if trial is None else trial.number,
        "from_epoch": None if trial is None or trial.continued is None else trial.continued.start,
        "state": None if trial is None else trial.state,
        "values": {"before": found.parent.values, "after": {} if trial is None else trial.values},
        "reason": "" if trial is None else trial.reason,
        "exit_code": code,
    }
