"""`hpo reproduce`: train a trial again, and say whether it gives the same numbers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo import layout
from hpo.analysis.formatting import listed, number
from hpo.cli.common import emit, find_study, json_option, output_option, runs_option
from hpo.cli.complete import study_names, trial_numbers
from hpo.cli.display import Display, display_options
from hpo.cli.drive import command_line
from hpo.cli.output import echo, say
from hpo.errors import HpoError
from hpo.text import count, redact

if TYPE_CHECKING:
    from hpo.actions.reproduce import Reproduced
    from hpo.analysis.reproduction import Changed, Comparison, Divergence, Noise

DIFFERS, INTERRUPTED = 1, 130
# So many changes are shown; --json has all.
_MOST_CHANGES = 20


@click.command(
    epilog="""\b
Examples:
  hpo reproduce quickstart 17                 train trial 17 again and compare
  hpo reproduce quickstart 17 --seed 5        the same with another seed
  hpo reproduce quickstart 17 --json | jq .verdict
  hpo reproduce quickstart 17 --export DIR    what is needed to train it elsewhere
  cd DIR && hpo run study.yaml

\b
The second training lies in runs/.reproduced, or in the folder of -o; the study
is only read. Which recorded thing has changed is said in any case: seed,
packages, files of the objective, commit, data, device, threads.
Exit code: 0 equal bit for bit or within seed noise, 1 it differs or the noise
is not known, 2 there is no such trial or it cannot be repeated, 130 interrupted.
"""
)
@click.argument("study", shell_complete=study_names)
@click.argument("trial", type=click.IntRange(min=0), metavar="N", shell_complete=trial_numbers)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), metavar="SEED", help="Another seed than the trial's own.")
@click.option(
    "--export",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Train nothing: write what is needed elsewhere into DIR.",
)
@output_option("Train in this folder instead of one in the runs folder.")
@runs_option
@json_option
@display_options
@click.pass_context
def reproduce(
    context: click.Context,
    study: str,
    trial: int,
    seed: int | None,
    export: Path | None,
    output: Path | None,
    runs: Path,
    as_json: bool,
    quiet: bool,
    log_file: Path | None,
) -> int:
    """Train a trial again, and say whether the numbers are the same.

    STUDY is a name in the runs folder or a YAML. A trial that was stopped is trained as far as it went.
    """
    from hpo.actions.reproduce import reproduce as train_again

    name = find_study(runs, study)
    if export is not None:
        return _export(runs, name, trial, layout.absolute(export), seed, as_json)
    display = Display(sys.stderr, command_line(context), quiet, log_file)
    try:
        found = train_again(runs, name, trial, output, seed, display.trackers)
    except HpoError as error:
        display.ends(redact(str(error)))
        raise
    finally:
        display.close()
    code = _code(found)
    display.ends(f"{next(_lines(found))} (exit code {code})")
    if as_json:
        emit(_document(found))
    else:
        say("\n".join(_lines(found)))
    return code


def _code(found: Reproduced) -> int:
    if found.comparison is None:
        return INTERRUPTED
    return 0 if found.comparison.verdict in ("equal", "within noise") else DIFFERS


def _lines(found: Reproduced) -> Iterator[str]:
    name, trial = found.first.study.name, found.first.trial
    if found.comparison is None:
        yield f"interrupted before trial {trial.number} of study '{name}' was trained again; nothing is compared"
        yield f"{'folder':<11}{found.folder}"
        return
    yield f"trial {trial.number} of study '{name}': {_verdict(found.comparison)}"
    yield from _numbers(found.comparison)
    yield from _changes(found.changed)
    if not found.changed and found.comparison.verdict != "equal":
        yield (
            "Nothing that was recorded has changed, so what differs was not recorded, or the training is not "
            "deterministic on this machine."
        )
    if found.unknown:
        yield f"Not recorded of the trial, so not compared: {listed(found.unknown)}."
    yield f"{'folder':<11}{found.folder}"


def _verdict(comparison: Comparison) -> str:
    """Return the finding in one clause."""
    if comparison.ended:
        return f"differs: {comparison.ended}"
    if comparison.verdict == "equal":
        return f"equal bit for bit ({count(len(comparison.equal), 'metric')}, {count(comparison.steps, 'step')})"
    finals = "; ".join(map(_final, comparison.noise))
    if comparison.verdict == "within noise":
        return f"equal within seed noise: {finals}"
    if comparison.verdict == "noise unknown":
        return (
            f"not equal: {finals}. How much the seed alone changes is not known: no configuration like it was trained "
            "with another seed"
        )
    return f"differs by more than the seed alone explains: {finals}" if finals else "differs"


def _final(one: Noise) -> str:
    said = f"{one.metric} {number(one.after)}, was {number(one.before)}"
    if one.z is None or one.deviation is None:
        return said
    return f"{said}, z = {one.z:.2f} (standard deviation {number(one.deviation)} of {one.n} seeds)"


def _numbers(comparison: Comparison) -> Iterator[str]:
    for one in comparison.first:
        yield f"first difference of {_difference(one)}"
    if comparison.others:
        names = listed(_difference(one) for one in comparison.others[:5])
        more = len(comparison.others) - 5
        yield f"other metrics that differ: {names}{f' and {more} more' if more > 0 else ''}"
    if comparison.measured:
        yield f"not compared, as times or memory: {listed(comparison.measured)}"


def _difference(one: Divergence) -> str:
    before, after = ("nothing" if value is None else repr(value) for value in (one.before, one.after))
    where = "in the final value" if one.step is None else f"at step {one.step}"
    return f"{one.metric} {where}: {after}, was {before}"


def _changes(changed: Iterable[Changed]) -> Iterator[str]:
    changed = list(changed)
    if changed:
        yield "changed since:"
        yield from (f"  {one}" for one in changed[:_MOST_CHANGES])
    if len(changed) > _MOST_CHANGES:
        yield f"  and {len(changed) - _MOST_CHANGES} more (--json has all)"


def _document(found: Reproduced) -> dict[str, object]:
    comparison = found.comparison
    return {
        "study": found.first.study.name,
        "trial": found.first.trial.number,
        "verdict": "interrupted" if comparison is None else comparison.verdict,
        "values": {"before": found.first.trial.values, "after": found.again.trial.values},
        "comparison": comparison,
        "z": {} if comparison is None else {one.metric: one.z for one in comparison.noise},
        "changed": found.changed,
        "not_recorded": found.unknown,
        "folder": found.folder,
        "exit_code": _code(found),
    }


def _export(runs: Path, name: str, trial: int, folder: Path, seed: int | None, as_json: bool) -> int:
    from hpo.actions.export_trial import export_trial

    written = export_trial(runs, name, trial, folder, seed)
    if as_json:
        emit({"study": name, "trial": trial, "folder": folder, "files": written.files, "notes": written.notes})
        return 0
    say("\n".join(str(folder / file) for file in written.files))
    for note in written.notes:
        echo(f"warning: {note}", err=True)
    return 0
