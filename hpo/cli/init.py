"""`hpo init`: the first files of a study."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from hpo.cli.common import aligned, labelled
from hpo.cli.output import say
from hpo.text import count, nearest

if TYPE_CHECKING:
    from hpo.scaffold.changes import Edit
    from hpo.scaffold.draft import Draft
    from hpo.scaffold.from_script import Scaffold

TASKS = ("segmentation", "classification", "ranking", "multitask", "command")
# Endings of scripts and sweeps.
_FILES = (".py", ".yaml", ".yml")


def _built_in(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from hpo.spec.includes import built_in_studies

    names = [Path(name).stem for name in built_in_studies()]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command(
    epilog="""\b
Examples:
  hpo init my-study --task segmentation      a folder with a study that runs at once
  hpo init my-study --task command           a small train.py of your own, and its study
  hpo init train.py                          a study for a script: argparse, Click, Typer, Hydra, ...
  hpo init train.py --apply                  and put the lines that it needs into it
  hpo init sweep.yaml                        from a sweep of Weights & Biases
  hpo init optuna_script.py                  from Optuna's suggest_ calls
  hpo init --from mitochondria_small         a copy of a built-in study, to be edited

\b
A script is read, with the modules of its folder that it imports. It is never run,
and never changed without --apply: the lines that it needs are printed, and
written beside it as a diff (`patch -p1` takes it).
Files that are there are not overwritten.

\b
Exit code: 0 written, 2 nothing was: what was given is not known, or files are there.
""",
)
@click.argument("what", required=False, metavar="[NAME|FILE]", type=click.Path())
@click.option("--task", type=click.Choice(TASKS), help="Write a new study of this kind into the folder NAME.")
@click.option(
    "--from",
    "built_in",
    metavar="STUDY",
    shell_complete=_built_in,
    help="Copy this built-in study, with its families and its objective, into the folder NAME.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The study's file, of a script or a sweep.  [default: study.yaml beside it]",
)
@click.option("--apply", is_flag=True, help="Put the lines that the script and its modules need into them.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def init(
    what: str | None, task: str | None, built_in: str | None, output: Path | None, apply: bool, force: bool
) -> int:
    """Write the first files of a study.

    From nothing, from your own training script, from a sweep of W&B, from an Optuna script, or from a built-in study.
    It prints what was written, what was recognised and why it is searched so, and what you must decide.
    """
    context = click.get_current_context()
    if task and built_in:
        raise click.UsageError("--task writes a new study and --from copies one; expected one of them", context)
    if (task or built_in) and (output or apply):
        raise click.UsageError("-o and --apply are for scripts and sweeps; leave them out here", context)
    if task or built_in:
        return _folder(what, task, built_in, force, context)
    if what is None:
        raise click.UsageError(
            f"expected a name with --task ({', '.join(TASKS)}), a script (train.py), a sweep (sweep.yaml), or --from a "
            "built-in study",
            context,
        )
    path = Path(what)
    if path.suffix.lower() not in _FILES:
        raise click.UsageError(_not_known(path), context)
    return _file(path, output, apply, force)


def _not_known(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder; expected a script in it, or another name with --task ({', '.join(TASKS)})"
    if path.suffix == ".ipynb":
        return f"{path} is a notebook; `jupyter nbconvert --to script {path}` makes a script of it"
    if path.exists():
        return f"{path} is neither Python (.py) nor a sweep (.yaml); expected one of them"
    return f"'{path}' needs --task, which says what kind of study it is: {', '.join(TASKS)}"


def _folder(what: str | None, task: str | None, built_in: str | None, force: bool, context: click.Context) -> int:
    """Write a folder with a study of a task, or with a copy of a built-in one."""
    from hpo.scaffold.copy_study import copy_study, default_folder
    from hpo.scaffold.files import write_new
    from hpo.scaffold.new_study import new_study

    if what is None and task:
        raise click.UsageError(f"--task needs a name for the study: hpo init my-study --task {task}", context)
    folder = Path(what or default_folder(built_in or ""))
    if what and folder.suffix in _FILES:
        raise click.UsageError(f"'{folder}' is a file's name; expected a folder's, such as {folder.stem}", context)
    files = new_study(task, folder) if task else copy_study(built_in or "", folder)
    write_new(files, force)
    study = folder / "study.yaml"
    lines = [("" if index else "wrote", str(path)) for index, path in enumerate(files)]
    blocks = [labelled(lines)]
    if built_in:
        blocks.append(
            "The modules in objectives/ are used in place of hpo's. What they import of objectives and is not copied "
            "(the training loop, losses, metrics) stays hpo's."
        )
    blocks += [_decisions(study), _next(study)]
    say("\n\n".join(filter(None, blocks)))
    return 0


def _file(path: Path, output: Path | None, apply: bool, force: bool) -> int:
    """Write a study for a script or a sweep."""
    from hpo.errors import ScaffoldError
    from hpo.scaffold.files import write_new
    from hpo.scaffold.from_optuna import from_optuna
    from hpo.scaffold.from_script import from_script
    from hpo.scaffold.from_wandb import from_wandb, is_sweep
    from hpo.scaffold.python_source import Script
    from hpo.scaffold.read_optuna import is_optuna
    from hpo.scaffold.write_yaml import study_text

    if path.is_dir():
        raise ScaffoldError(f"{path} is a folder; expected a script or a sweep")
    if not path.exists():
        folder = path.parent
        names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
        raise ScaffoldError(f"there is no file {path}.{nearest(path.name, names)}")
    more: dict[Path, str | bytes] = {}
    if path.suffix.lower() != ".py":
        if not is_sweep(path):
            raise ScaffoldError(_no_sweep(path))
        scaffold = from_wandb(path)
    elif is_optuna(script := Script(path)):
        scaffold, name, text = from_optuna(script)
        more[path.parent / name] = text
    else:
        scaffold = from_script(path)
    study = output or path.parent / "study.yaml"
    if study.absolute().parent != path.absolute().parent:
        raise ScaffoldError(
            f"{study} is in another folder than {path}; expected a file beside it, for paths count from it"
        )
    files: dict[Path, str | bytes] = {study: study_text(scaffold.draft), **more}
    kept = apply and not force and study.exists()
    if kept:
        files = {}
    target = scaffold.script.path if scaffold.script is not None else path
    diff_file = target.with_name(f"{target.name}.diff")
    if scaffold.diff and not _same(diff_file, scaffold.diff):
        files[diff_file] = scaffold.diff
    write_new(files, force or kept)
    if apply:
        for edit in scaffold.edits:
            _apply(edit)
    written = [("" if index else "wrote", str(one)) for index, one in enumerate(files)]
    if scaffold.diff and diff_file not in files:
        written.append(("kept", f"{diff_file}, which is the same"))
    if kept:
        written.append(("kept", f"{study}, which is there already"))
    if apply:
        changed = ", ".join(str(edit.script.path) for edit in scaffold.edits)
        done = f"{changed}, with the lines below" if changed else f"nothing: {target} needs no lines"
        written.append(("changed", done))
    blocks = [labelled(written), "" if kept else _recognised(scaffold), _lines(scaffold, diff_file, apply)]
    blocks += [
        "" if kept else _decisions(study),
        _problems(study),
        _next(study, None if apply or not scaffold.diff else diff_file),
    ]
    say("\n\n".join(filter(None, blocks)))
    return 0


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def _apply(edit: Edit) -> None:
    from hpo.errors import ScaffoldError
    from hpo.machine.access import reason
    from hpo.machine.files import write_atomically

    script = edit.script
    try:
        mode = script.path.stat().st_mode
        write_atomically(script.path.resolve(), edit.text.encode(script.encoding))
        script.path.chmod(mode & 0o7777)
    except OSError as error:
        raise ScaffoldError(f"{script.path} cannot be written: {reason(error)}") from error


def _no_sweep(path: Path) -> str:
    from hpo.spec.yaml_document import read_yaml

    data = read_yaml(path).data
    if isinstance(data, dict) and "search_space" in data:
        return f"{path} is a study already: hpo check {shlex.quote(str(path))}"
    return f"{path} is no sweep of W&B: it lacks parameters:, which say what is searched"


# --- what is said


def _recognised(scaffold: Scaffold) -> str:
    """Return what was recognised: what is searched and why, what is not, and the metrics."""
    from hpo.scaffold.write_yaml import in_words, rows_in_words

    draft = scaffold.draft
    rows = [("parameter", "range", "why")]
    rows += [row for entry in draft.parameters for row in rows_in_words(entry.name, entry.declared, entry.why)]
    lines = aligned(rows)
    others = [(entry.name, f"{in_words(entry.declared)}  ({entry.why})" if entry.why else in_words(entry.declared))
              for entry in draft.constants]  # fmt: skip
    others += scaffold.roles
    if others:
        lines += ["", *aligned([("not searched", ""), *others])]
    metrics = ", ".join(f"{metric.name} ({metric.direction})" for metric in draft.metrics)
    told = [("metric" if len(draft.metrics) == 1 else "metrics", metrics)]
    if scaffold.reported:
        told.append(("reported", f"{', '.join(scaffold.reported)}, too"))
    lines += ["", labelled(told)]
    if draft.notes:
        lines += ["", *(f"note: {note}" for note in draft.notes)]
    return "\n".join(lines)


def _lines(scaffold: Scaffold, diff_file: Path, applied: bool) -> str:
    """Return the lines that the script needs, or that it needs none."""
    if scaffold.script is None:
        return ""
    name = scaffold.script.path.name
    if not scaffold.diff:
        return "" if _asks(scaffold.draft) else f"{name} is used as it is."
    lines = []
    for edit in scaffold.edits:
        body = [line for line in edit.diff.splitlines()[2:] if line[:1] in "+-@"]
        added = sum(line.startswith("+") for line in body)
        lines.append(
            f"{'put into' if applied else 'to be put into'} {edit.name} ({count(added, 'line')}; {diff_file}):"
        )
        lines += [f"  {line}" for line in body]
    return "\n".join(lines)


def _asks(draft: Draft) -> bool:
    return any("no metric was found" in sentence for sentence in draft.decide)


def _decisions(study: Path) -> str:
    """Return the places in a study at which a person must decide."""
    from hpo.scaffold.write_yaml import decisions

    found = decisions(study.read_text(encoding="utf-8"))
    if not found:
        return ""
    return "\n".join(["to decide:", *(f"  {study}:{line}  {text}" for line, text in found)])


def _problems(study: Path) -> str:
    """Return what `hpo check` refuses in a study; nothing, unless what the sweep or the script names is missing."""
    from hpo.errors import SpecError
    from hpo.spec.load import load_spec

    try:
        load_spec(study)
    except SpecError as error:
        return "\n".join(["to mend first:", *(f"  {problem}" for problem in error.problems)])
    return ""


def _next(study: Path, diff_file: Path | None = None) -> str:
    quoted = shlex.quote(str(study))
    commands = []
    if diff_file is not None:
        folder = "" if diff_file.parent == Path() else f"-d {shlex.quote(str(diff_file.parent))} "
        script = shlex.quote(str(diff_file.with_suffix("")))
        commands.append((f"patch -p1 {folder}< {shlex.quote(str(diff_file))}", f"or: hpo init {script} --apply"))
    commands += [
        (f"hpo check {quoted}", "is it right, and what would it do?"),
        (f"hpo try {quoted}", "one short trial, and what a full run costs"),
        (f"hpo run {quoted}", "search; the same command again goes on"),
    ]
    return "\n".join(["next:", *(f"  {line}" for line in aligned(commands))])
