"""Settings of a script as parts of a study: parameters, constants, and what stays the script's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.errors import ScaffoldError
from hpo.scaffold.draft import MISSING, VALUE, Draft, Entry, Setting, key_name
from hpo.scaffold.guess import CONSTANT, DIRECTORY, LEAVE, PARAMETER, SEED, Guess, any_searched, guess
from hpo.scaffold.python_source import Script
from hpo.scaffold.read_hydra import HydraConfig


class DraftBuilder:
    """Sorts settings into parameters, constants and what stays the script's."""

    def __init__(self, script: Script, draft: Draft) -> None:
        self.script = script
        self.draft = draft
        self.roles: list[tuple[str, str]] = []
        self.taken: set[str] = set()
        # Nothing is known by its name, so that numbers are searched whose names are not known.
        self.guessing = False

    def arguments(self, settings: Sequence[Setting], alone: bool) -> None:
        """Add the arguments of a command line; positional ones in their order, before the others.

        Args:
            settings: they.
            alone: nothing else is searched.
        """
        self.guessing = alone and not any_searched(settings)
        positional = [setting for setting in settings if setting.arguments == (VALUE,) and not setting.forms]
        for setting in [*positional, *(setting for setting in settings if setting not in positional)]:
            self.argument(setting, keep=setting.required)

    def argument(
        self, setting: Setting, keep: bool = False, constants: bool = True, beside: Sequence[Setting] = ()
    ) -> None:
        """Add a setting that words of the command line set.

        Args:
            setting: it.
            keep: it must be given.
            constants: constants are given too; else they stay where they are.
            beside: the same setting with other defaults, which the range has to hold too.
        """
        found = guess(setting)
        if self.guessing and found.possible is not None:
            why = "half to twice"
            found = replace(found, role=PARAMETER, declared=found.possible, why=why, decide="is this the range?")
        for other in map(guess, beside):
            found = replace(found, declared=_wider(found.declared, other.declared))
        found = replace(found, declared=_within(found.declared, setting.limits))
        if setting.forms and found.role == PARAMETER:
            self.either(setting, found)
        elif setting.flag:
            self.switch(setting, found)
        elif found.role == PARAMETER:
            name = self.parameter(setting, found)
            self.place(setting, f"{{{name}}}", found.declared)
        elif found.role == SEED:
            self.roles.append((setting.shown, "the trial's seed"))
            self.place(setting, "{seed}")
        elif found.role == DIRECTORY:
            self.roles.append((setting.shown, "the trial's folder"))
            self.place(setting, "{directory}")
        elif found.role == CONSTANT and not setting.forms and (constants or keep or found.name == "epochs"):
            name = self.constant(setting, found)
            self.place(setting, f"{{constants.{name}}}", found.declared)
        elif found.role == LEAVE and keep:
            self.draft.decide.append(f"{setting.shown} is required; add it to the command")
        elif found.role == CONSTANT:
            self.roles.append((setting.shown, f"stays {_shown(setting.value)}"))

    def switch(self, setting: Setting, found: Guess) -> None:
        """Add a flag: a choice that brings the word with it, which the command leaves out elsewhere."""
        if found.role != PARAMETER:
            self.roles.append((setting.shown, "stays as it is"))
            return
        name = key_name(found.name, self.taken)
        self.taken.add(name)
        word = key_name(f"{name}_flag", self.taken)
        self.taken.add(word)
        on = not setting.value
        declared = {"choices": {not on: {}, on: {word: setting.flag}}}
        self.draft.parameters.append(
            Entry(name, declared, f"{setting.shown}; {found.why}", found.decide, setting.value)
        )
        self.draft.command.append([f"{{{word}}}"])

    def either(self, setting: Setting, found: Guess) -> None:
        """Add a setting that is true or false, with the words that say so."""
        name = key_name(found.name, self.taken)
        self.taken.add(name)
        assert setting.forms
        default = setting.forms[bool(setting.value)]
        why = f"{setting.shown}; {found.why}"
        self.draft.parameters.append(Entry(name, {"choices": list(setting.forms)}, why, found.decide, default))
        self.draft.command += [_filled(word, f"{{{name}}}") for word in setting.arguments]

    def parameter(self, setting: Setting, found: Guess, why: str = "") -> str:
        """Add a parameter and return its name."""
        name = key_name(found.name, self.taken)
        self.taken.add(name)
        default = setting.value if setting.value is not MISSING and fits(found.declared, setting.value) else MISSING
        if default is MISSING and setting.value == 0 and found.declared.get("log"):
            default = found.declared["low"]  # as good as none
        said = f" {_shown(setting.value)}" if setting.value is not MISSING else ""
        self.draft.parameters.append(
            Entry(name, found.declared, why or f"{setting.shown}{said}; {found.why}", found.decide, default)
        )
        return name

    def constant(self, setting: Setting, found: Guess) -> str:
        """Add a constant and return its name."""
        name = key_name(found.name, self.taken)
        self.taken.add(name)
        self.draft.constants.append(Entry(name, found.declared, setting.shown, found.decide))
        return name

    def place(self, setting: Setting, placeholder: str, value: Any = None) -> None:
        """Add the words of the command that set a setting."""
        words = [_filled(word, placeholder) for word in setting.arguments]
        lowest = value.get("low") if isinstance(value, Mapping) else value
        listed = value.get("choices", []) if isinstance(value, Mapping) else [value]
        minus = (isinstance(lowest, (int, float)) and lowest < 0) or any(str(one).startswith("-") for one in listed)
        if minus and len(words) == 2:  # argparse would take `-1e-05` for an option
            words = ["=".join(words)]
        self.draft.command += words

    def constants(self, settings: Sequence[Setting]) -> dict[str, str]:
        """Add settings that are read from the trial, and return what is read in their places, by name."""
        read: dict[str, str] = {}
        for setting in settings:
            found = guess(setting)
            if found.role == PARAMETER:
                read[setting.name] = f"params.{self.parameter(setting, found)}"
            elif found.role == CONSTANT and found.name == "epochs":
                read[setting.name] = f"constants.{self.constant(setting, found)}"
            elif found.role == DIRECTORY and Path(str(setting.value)).expanduser().is_absolute():
                self.draft.decide.append(
                    f"{setting.shown} is {_shown(setting.value)}, into which all trials would write; expected a folder "
                    "below hpo.current_trial().directory"
                )
            elif found.role == DIRECTORY:
                read[setting.name] = "directory"
                self.roles.append((setting.shown, "in the trial's folder"))
            elif found.role == SEED:
                self.draft.notes.append(
                    f"{setting.shown} stays {_shown(setting.value)} in all trials; where it is for what the training "
                    "draws, and not for how data are split, put `hpo.current_trial().seed` there"
                )
            elif found.role == CONSTANT and found.decide:
                self.draft.notes.append(f"{setting.name} = {_shown(setting.value)} is {found.decide}")
        return read

    def hydra(self, config: HydraConfig) -> None:
        """Add what overrides of Hydra's can set; its output goes to the trial's folder."""
        for group in config.groups:
            self.group(group.name, group.default, group.options)
        for setting in config.settings:
            self.argument(setting, keep=setting.required, constants=False)
        self.draft.command.append("hydra.run.dir='{directory}'")

    def group(self, wanted: str, default: str, options: Mapping[str, Sequence[Setting]]) -> None:
        """Add a group of options as a choice; what only some options have is there only with them."""
        name = key_name(wanted.rpartition("/")[2], self.taken)
        self.taken.add(name)
        everywhere = set.intersection(*({setting.name for setting in held} for held in options.values()))
        children: dict[str, dict[str, Any]] = {option: {} for option in options}
        words: list[list[str]] = []
        for option, held in options.items():
            for setting in held:
                found = guess(setting)
                if setting.name in everywhere:
                    if option == default and found.role in (PARAMETER, SEED, DIRECTORY):
                        same = [one for other in options.values() for one in other if one.name == setting.name]
                        self.argument(setting, constants=False, beside=same)
                elif found.role == PARAMETER:
                    key = key_name(found.name, self.taken)
                    self.taken.add(key)
                    children[option][key] = found.declared
                    words.append([_filled(word, f"{{{key}}}") for word in setting.arguments])
        declared = {"choices": children if any(children.values()) else list(options)}
        self.draft.parameters.append(Entry(name, declared, f"{wanted}/: the options that there are", "", default))
        self.draft.command.append(f"{wanted}={{{name}}}")
        self.draft.command += words

    def refuse_empty(self, skipped: Sequence[str], modules: Sequence[Script]) -> None:
        """Raise an error if nothing is searched."""
        if self.draft.parameters:
            return
        seen = [entry.why or entry.name for entry in self.draft.constants]
        there = f" It has {', '.join(seen[:12])}." if seen else ""
        if any(one.reads_trial() for one in (self.script, *modules)):
            raise ScaffoldError(
                f"{self.script.path} takes its values from the trial already, and has no others to search"
            )
        more = "".join(f"\n{sentence}" for sentence in [*skipped, *self.draft.notes][:8])
        names = ", ".join(module.path.name for module in modules[:6])
        looked = f" Its modules were read too ({names}{', ...' if len(modules) > 6 else ''})." if modules else ""
        raise ScaffoldError(
            f"{self.script.path} has nothing that is known to be searched.{there}{looked} Expected arguments of "
            "argparse, Click, Typer, Fire or tyro (--lr, --batch-size, ...), a Hydra configuration, a YAML or JSON "
            "file that it loads, constants such as LEARNING_RATE = 1e-3, or calls such as AdamW(..., lr=1e-3). "
            f"`hpo init NAME --task command` writes a study and a script to start from{more}"
        )


def fits(declared: Any, value: Any) -> bool:
    """Return True if a value lies in a range or among choices."""
    if not isinstance(declared, Mapping):
        return False
    if "choices" in declared:
        return any(type(one) is type(value) and one == value for one in declared["choices"])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return bool(declared["low"] <= value <= declared["high"])


def _wider(declared: Any, other: Any) -> Any:
    """Return a range that holds another one too; of choices, and of what is no range, the first."""
    if not (isinstance(declared, Mapping) and isinstance(other, Mapping) and "low" in declared and "low" in other):
        return declared
    return {**declared, "low": min(declared["low"], other["low"]), "high": max(declared["high"], other["high"])}


def _within(declared: Any, limits: tuple[float | None, float | None]) -> Any:
    """Return a range, cut to the values that the script takes."""
    if limits == (None, None) or not isinstance(declared, Mapping) or "low" not in declared:
        return declared
    low, high = limits
    cut = {
        "low": declared["low"] if low is None else max(declared["low"], low),
        "high": declared["high"] if high is None else min(declared["high"], high),
    }
    return {**declared, **cut} if cut["low"] <= cut["high"] else declared


def _filled(word: str, placeholder: str) -> str:
    """Return a word of a setting with the placeholder of its value; its own braces are text."""
    return word.replace("{", "{{").replace("}", "}}").replace(VALUE, placeholder)


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else re.sub(r"^(True|False|None)$", lambda m: m[0].lower(), str(value))
