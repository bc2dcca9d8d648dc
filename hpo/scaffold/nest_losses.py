"""Parameters of one loss, put where a script chooses that loss: they are searched with it alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hpo.scaffold.draft import MISSING, Draft, Entry
from hpo.scaffold.guess import snake

_CHOOSES = ("loss", "loss_fn", "loss_function", "loss_type", "loss_name", "criterion")
# Parts of names that say to which loss a parameter belongs.
_LOSSES = {"focal": "focal", "fl": "focal", "ghm": "ghm", "tversky": "tversky"}


def nest_losses(draft: Draft) -> None:
    """Move parameters such as `focal_gamma` of a draft into the choice `focal` of its `loss`.

    The command leaves their words out where another loss is chosen. One without a default stays where it is: the script
    may not start without it.
    """
    holder = next((entry for entry in draft.parameters if entry.name in _CHOOSES and _texts(entry)), None)
    if holder is None:
        return
    inside: dict[str, dict[str, Any]] = {choice: {} for choice in holder.declared["choices"]}
    moved = []
    for entry in draft.parameters:
        losses = {_LOSSES[word] for word in snake(entry.name).split("_") if word in _LOSSES}
        chosen = [choice for choice in inside if any(loss in snake(choice) for loss in losses)]
        if entry is holder or entry.decide or entry.default is MISSING or not chosen:
            continue
        moved.append(entry)
        for choice in chosen:
            inside[choice][entry.name] = entry.declared
        if holder.default in chosen:
            draft.first[entry.name] = entry.default
    if moved:
        rest = [entry for entry in draft.parameters if entry not in moved]
        nested = replace(holder, declared={**holder.declared, "choices": inside})
        draft.parameters = [nested if entry is holder else entry for entry in rest]
        draft.command = _left_out_with(draft.command, [entry.name for entry in moved])


def _texts(entry: Entry) -> bool:
    choices = entry.declared.get("choices") if isinstance(entry.declared, dict) else None
    return isinstance(choices, list) and all(isinstance(choice, str) for choice in choices)


def _left_out_with(command: list[str | list[str]], names: list[str]) -> list[str | list[str]]:
    """Return a command that leaves out the words of these parameters where they are not there."""
    found: list[str | list[str]] = []
    for word in command:
        if not isinstance(word, str) or not any(f"{{{name}}}" in word for name in names):
            found.append(word)
            continue
        option = found[-1] if found else ""
        alone = word.startswith("{") and isinstance(option, str) and option.startswith("-")
        found[-1:] = [[option, word]] if alone and isinstance(option, str) else [*found[-1:], [word]]
    return found
