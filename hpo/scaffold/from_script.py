"""A study from a training script: from its command line, its configuration files or its constants, and its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpo.machine.resources import visible_gpus
from hpo.scaffold.changes import Edit, edit, import_line, report_changes
from hpo.scaffold.choose_metric import choose_metric
from hpo.scaffold.draft import MISSING, Draft, Entry, default_group, study_name
from hpo.scaffold.draft_builder import DraftBuilder
from hpo.scaffold.guess import any_searched
from hpo.scaffold.nest_losses import nest_losses
from hpo.scaffold.own_modules import own_modules
from hpo.scaffold.python_source import Change, Script
from hpo.scaffold.read_argparse import CommandLine, read_argparse
from hpo.scaffold.read_commands import read_commands
from hpo.scaffold.read_config_file import ConfigFile, read_config_file
from hpo.scaffold.read_constants import Constants, read_constants
from hpo.scaffold.read_hydra import read_hydra
from hpo.scaffold.read_metrics import Found, read_metrics
from hpo.scaffold.read_trainer import evaluates
from hpo.text import count

# Modules whose constants are a script's configuration.
_CONFIGURATIONS = {"config", "configs", "cfg", "conf", "constants", "settings", "hparams", "hyperparameters", "params",
                   "hyperparams", "parameters", "options", "opts", "default", "defaults", "hp"}  # fmt: skip
_PLAIN_NAMES = {"train", "main", "run", "script", "training", "app", "__main__", "fit", "model", "experiment", "study"}


@dataclass
class Scaffold:
    """A study that is drafted from a script.

    Attributes:
        draft: the study.
        script: the script; None where there is none.
        edits: the files of the script that need lines.
        reported: the metrics that the study gets, besides those that it optimises.
        roles: (what the script calls it, what becomes of it) of settings that are not searched.
    """

    draft: Draft
    script: Script | None = None
    edits: tuple[Edit, ...] = ()
    reported: tuple[str, ...] = ()
    roles: list[tuple[str, str]] = field(default_factory=list)

    @property
    def diff(self) -> str:
        """The lines that the script needs, as a unified diff; empty: none."""
        return "".join(edit.diff for edit in self.edits)


def from_script(path: Path) -> Scaffold:
    """Return a study that trains a script as a command.

    Raises:
        ScaffoldError: the script cannot be read, or has nothing to search.
    """
    script = Script(path)
    modules = own_modules(script)
    draft = Draft(script_study_name(path))
    builder = DraftBuilder(script, draft)
    hydra = read_hydra(script)
    line = command_line(script, modules) if hydra is None else CommandLine()
    inside: ConfigFile | Constants | None = None
    if hydra is None and not any_searched(line.settings):
        inside = read_config_file([script, *modules]) or _constants(script, modules)
        if line.settings and not any_searched(inside.settings):
            inside = None
    changes: dict[Script, list[Change]] = {}
    draft.command = ["python", path.name, *line.before]
    if hydra is not None:
        builder.hydra(hydra)
    elif line.settings:
        given = inside.given_to(line.settings) if isinstance(inside, ConfigFile) else line.settings
        builder.arguments(given, alone=inside is None)
        draft.notes += line.skipped
    if inside is not None:
        changes[inside.script] = inside.changes(builder.constants(inside.settings))
    if isinstance(inside, ConfigFile):
        draft.notes.append(f"its settings are those of {inside.file}")
    builder.refuse_empty(line.skipped, modules)
    nest_losses(draft)
    return finish(script, modules, draft, read_metrics(script, modules), changes, builder.roles)


def command_line(script: Script, modules: Sequence[Script]) -> CommandLine:
    """Return the command line of a script: with the arguments that its modules add."""
    line = read_argparse(script)
    for module in modules:
        more = read_argparse(module)
        known = {setting.name for setting in line.settings}
        added = [setting for setting in more.settings if setting.name not in known]
        if added:
            line.skipped.append(f"{count(len(added), 'argument')} of {module.path.name}, which the script imports")
        line.settings += added
        line.before = line.before or more.before
        line.skipped += [f"{module.path.name}: {sentence}" for sentence in more.skipped]
    return line if line.settings else read_commands(script, modules)


def _constants(script: Script, modules: Sequence[Script]) -> Constants:
    """Return the constants of a script, or those of its configuration's module if only they are worth a search."""
    own = read_constants(script)
    if not any_searched(own.settings):
        others = (read_constants(one) for one in modules if one.path.stem.lower() in _CONFIGURATIONS)
        return next((constants for constants in others if any_searched(constants.settings)), own)
    return own


def finish(
    script: Script,
    modules: Sequence[Script],
    draft: Draft,
    found: Found,
    changes: Mapping[Script, Sequence[Change]],
    roles: list[tuple[str, str]],
) -> Scaffold:
    """Return a draft with the script's metrics, its first trial and its engine, and the changes of its files."""
    add_metrics(draft, found)
    add_settings(draft, [script, *modules], found)
    edits = []
    for one in (script, *modules):
        reports = report_changes(one, found) if one is found.script else []
        others = changes.get(one, ())
        # Either brings the import.
        together = [*reports, *others] if reports else [*(import_line(one) if others else []), *others]
        if together:
            edits.append(edit(one, together, script.path))
    if found.site is not None and found.site.again:
        draft.notes.append(
            "the reported line computes a value a second time; put it into a variable if that takes long"
        )
    names = {metric.name for metric in draft.metrics}
    reported = tuple(name for name in found.names if name not in names)
    return Scaffold(draft, script, tuple(edits), reported, roles)


def script_study_name(path: Path) -> str:
    """Return the name of a script's study: the script's, or its folder's where that says more."""
    if path.stem.lower() in _PLAIN_NAMES:
        folder = path.absolute().parent.name
        if folder and folder.lower() not in ("src", "scripts", "code"):
            return study_name(folder)
    return study_name(path.stem)


def add_metrics(draft: Draft, found: Found) -> None:
    """Choose the metric to optimise, unless the draft has one, and say what keeps it from being reported."""
    if not draft.metrics:
        draft.metrics = [choose_metric(found.names)]
    if not found.kind:
        draft.decide.append(
            "no metric was found in the script: put `hpo.report(epoch, "
            f"{draft.metrics[0].name}=value)` behind each epoch (docs/objectives.md)"
        )

    if found.kind == "trainer" and found.script is not None and evaluates(found.script) == "no":
        draft.decide.append(
            "the Trainer evaluates nothing while it trains, so that nothing is reported: give its arguments "
            'eval_strategy="epoch"'
        )


def add_settings(draft: Draft, scripts: Sequence[Script], found: Found) -> None:
    """Add group, first trial, pruner, budget and engine."""
    draft.group_by = draft.group_by or default_group(draft.parameters)
    known = {entry.name for entry in draft.settings}
    if "pruner" not in known and found.kind and not found.repeated:
        draft.settings.append(Entry("pruner", "none", "the metric is known at the end only"))
    first = {entry.name: entry.default for entry in draft.parameters if entry.default is not MISSING} | draft.first
    if first and "enqueue" not in known:
        draft.settings.append(Entry("enqueue", [first], "what the script does today, first: the search has to beat it"))
    if "budget" not in known:
        draft.settings.append(Entry("budget", {"trials": 40}))
    if "engine" not in known:
        draft.settings.append(engine_entry(scripts))


def engine_entry(scripts: Sequence[Script]) -> Entry:
    """Return the engine: with a GPU if this machine has one and the script speaks of some, for trials see no others."""
    text = "\n".join(script.text.lower() for script in scripts)
    wants = any(word in text for word in ("cuda", "gpu", "lightning", "keras", "tensorflow", "torch", "jax"))
    if wants and visible_gpus():
        return Entry("engine", {"workers": 1, "gpu": 1}, "gpu: auto puts as many trials on a GPU as fit and pay")
    comment = "gpu: 1 gives each trial a GPU; without it trials see none" if wants else "more train more trials at once"
    return Entry("engine", {"workers": 1}, comment)
