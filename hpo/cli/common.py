"""Options, the search for the study that is meant, and plain text, which several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpo import layout
from hpo.analysis.formatting import number
from hpo.cli.complete import as_a_shell_reads, folders, study_files, study_names, trial_numbers
from hpo.cli.output import echo, echo_document, say
from hpo.errors import AccessDenied, ControlError, HpoError, StudyNotFound
from hpo.machine.access import why_denied
from hpo.machine.page_access import LOCAL
from hpo.text import listing, nearest, printable_json

if TYPE_CHECKING:
    from hpo.control.requests import Answer
    from hpo.reports.write import WrittenReport

F = TypeVar("F", bound=Callable[..., Any])
# Columns of the labels of `labelled`.
LABEL = 11


def runs_option(command: F) -> F:
    """Add `--runs DIR`, passed on as the absolute Path `runs`."""
    return click.option(
        "--runs",
        metavar="DIR",
        callback=_runs_folder,
        shell_complete=folders,
        help="Folder of all studies.  [default: $HPO_RUNS, else ./runs]",
    )(command)


def _runs_folder(context: click.Context, _option: click.Parameter, value: str | None) -> Path:
    """Return the runs folder that --runs names."""
    return layout.runs_folder(as_a_shell_reads(value) if value and context.resilient_parsing else value)


def set_option(command: F) -> F:
    """Add `--set KEY=VALUE`, any number of them, passed on as the tuple `overrides`."""
    text = "Override a key of the YAML, such as constants.epochs=2."
    return click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=text)(command)


def trials_option(command: F) -> F:
    """Add `--trials N`, passed on as `trials`."""
    number = click.IntRange(min=1)
    return click.option("--trials", type=number, metavar="N", help="Trials in all (budget.trials).")(command)


def json_option(command: F) -> F:
    """Add `--json`, passed on as the bool `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")(command)


def listen_options(port: int) -> Callable[[F], F]:
    """Add `--host` and `--port` of a server, passed on as `host` and `port`; `port` is the default."""

    def decorate(command: F) -> F:
        ports = click.IntRange(0, 65535)
        command = click.option("--port", default=port, show_default=True, type=ports, help="0: any free one.")(command)
        return click.option("--host", default=LOCAL[0], show_default=True, help="Address to listen on.")(command)

    return decorate


def cannot_listen(what: str, host: str, port: int, error: Exception) -> HpoError:
    """Return the error of a server that cannot listen on its port, with another port to try."""
    other = port + 1 if 0 < port < 65535 else 0
    return HpoError(f"{what} cannot listen on {host}, port {port}: {error}. Try --port {other}")


def study_argument(command: F) -> F:
    """Add an optional argument STUDY, to be given to `find_study`."""
    return click.argument("study", required=False, shell_complete=study_names)(command)


def trial_argument(command: F) -> F:
    """Add an optional argument N, the number of a trial of the study before it, passed on as `trial`."""
    kind = click.IntRange(min=0)
    return click.argument("trial", required=False, type=kind, metavar="[N]", shell_complete=trial_numbers)(command)


def trial_option(text: str) -> Callable[[F], F]:
    """Add `--trial N` with this help, for commands where N may also stand behind the study: `one_trial` joins them."""
    kind = click.IntRange(min=0)
    return click.option("--trial", "named", type=kind, metavar="N", shell_complete=trial_numbers, help=text)


def one_trial(trial: int | None, named: int | None) -> int | None:
    """Return the trial that stands behind the study, or that of `--trial`; UsageError if these are two."""
    if trial is not None and named not in (None, trial):
        raise click.UsageError(f"trial {trial} and --trial {named} are two trials; expected one")
    return named if trial is None else trial


def study_file_argument(command: F) -> F:
    """Add an argument STUDY.yaml, passed on as `study`."""
    return click.argument("study", metavar="STUDY.yaml", shell_complete=study_files)(command)


def find_study(runs: Path, given: str | None) -> str:
    """Return the name of the study that is meant.

    It is a name in the runs folder, a YAML with the name of a study there, or by default the study last driven.

    Raises:
        StudyNotFound: If there is no such study.
        SpecError: If the YAML is wrong.
    """
    names = layout.studies_in(runs)
    if given is None:
        if not names:
            raise StudyNotFound(f"there is no study in {runs}. {_where_to_look('hpo run STUDY.yaml starts one')}")
        return names[0]
    if given in names:
        return given
    name = given
    if given.endswith((".yaml", ".yml")):
        from hpo.spec.load import load_spec

        name = load_spec(given, locate=False).name
        if name in names:
            return name
    folder = layout.study_directory(runs, name)
    if folder in layout.closed_folders(runs):
        raise AccessDenied(f"study '{name}' cannot be read: {why_denied(folder)}")
    if layout.trials_directory(folder).exists():
        raise StudyNotFound(
            f"{folder / layout.SPEC} is gone, so that study '{name}' cannot be read. Bring it back, or `hpo run` the "
            "YAML that the study was started with: it writes this file anew"
        )
    there = f"There are {listing(names)}." if names else "There are no studies in it."
    raise StudyNotFound(
        f"there is no study '{name}' in {runs}.{nearest(name, names)} {there} {_where_to_look('')}".rstrip()
    )


def output_option(text: str) -> Callable[[F], F]:
    """Add `-o DIR` with this help, passed on as the absolute Path `output` or None."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        callback=lambda _context, _option, value: value and layout.absolute(value),
        help=text,
    )


def page_options(command: F) -> F:
    """Add `--lang`, `--images` and `--open`, for commands that write a report."""
    options = (
        click.option("--lang", metavar="LANG", help="en or zh-TW (Traditional Chinese); else $HPO_LANG, else en."),
        click.option(
            "--images",
            type=click.Choice(("png", "svg")),
            is_flag=False,
            flag_value="png",
            help="Also draw every figure into a file, which the Markdown shows; png unless svg is asked for.",
        ),
        click.option("--open", "show", is_flag=True, help="Open the page in the browser."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def write_where_allowed(
    write: Callable[[], WrittenReport], output: Path | None, needed: bool = False
) -> WrittenReport | None:
    """Write a report; where that is another user's folder, say that -o writes it elsewhere.

    Args:
        write: writes it.
        output: what -o says; None: a study's folder.
        needed: raise an error then. Otherwise the command has printed enough to go on.
    """
    try:
        return write()
    except AccessDenied as error:
        if output is not None:
            raise
        said = f"{error}; -o DIR writes it to a folder of your own"
        if needed:
            raise AccessDenied(said) from None
        echo(f"hpo: {said}", err=True)
        return None


def present_report(written: WrittenReport | None, show: bool, quiet: bool = False) -> None:
    """Print the paths of a report unless `quiet`, the page first, and open the page if `show`."""
    if written is None:
        return
    if not quiet:
        say("\n".join(map(str, (written.html, written.markdown, written.json))))
    if show and click.launch(str(written.html)) != 0:
        echo(f"no browser could be started here; open {written.html} yourself", err=True)


def _where_to_look(first: str) -> str:
    other = "--runs DIR or $HPO_RUNS names another folder."
    return f"{first}; {other}" if first else other


follow_up, how_to_continue = layout.follow_up, layout.how_to_continue


def answer_or_error(answer: Answer) -> str:
    """Return the sentence that answers a request.

    Raises:
        ControlError: If the driver did not do what was asked; its sentence says why.
    """
    if not answer.ok:
        raise ControlError(answer.said)
    return answer.said


def emit(data: Any, write: Callable[[str], object] = echo_document) -> None:
    """Print the one JSON document of `--json` with `write`."""
    from hpo.reports.to_json import to_plain_data

    write(printable_json(json.dumps(to_plain_data(data), indent=2, ensure_ascii=False, allow_nan=False)))


def metrics_text(metrics: Mapping[str, float]) -> str:
    """Return metrics as `val_auc 0.91, val_loss 0.3`."""
    return ", ".join(f"{name} {number(float(value))}" for name, value in metrics.items())


def aligned(rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return rows of cells as lines with aligned columns; columns of `right` are aligned to the right."""
    rows = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def labelled(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a line `label      text` for each pair; an empty label continues the line before."""
    return "\n".join(f"{label:<{LABEL}}{text}" for label, text in pairs)
