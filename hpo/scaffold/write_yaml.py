"""A draft as the text of study.yaml, with comments where a person must decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpo.scaffold.draft import Draft, Entry
from hpo.spec.schema_file import editor_line
from hpo.spec.yaml_document import dump_inline
from hpo.text import printable_line, show

DECIDE = "# decide:"
_WIDTH = 116


def study_text(draft: Draft) -> str:
    """Return the YAML of a draft."""
    lines = [editor_line(), *(f"# {line}" if line else "#" for line in map(printable_line, draft.title))]
    lines.append(f"name: {dump_inline(draft.name)}")
    if draft.objective:
        lines.append(f"objective: {dump_inline(draft.objective)}")
    else:
        lines += _command(draft.command)
    lines += _metrics(draft)
    if draft.group_by:
        lines.append(f"group_by: {dump_inline(draft.group_by)}")
    lines += ["", "search_space:", *(line for entry in draft.parameters for line in _entry(entry, "  "))]
    if draft.constants:
        lines += ["", "constants:", *(line for entry in draft.constants for line in _entry(entry, "  "))]
    lines += ["", *(line for entry in draft.settings for line in _setting(entry))]
    lines += [line for sentence in draft.decide for line in _comment(f"decide: {sentence}", "")]
    return "\n".join(lines) + "\n"


def _command(command: Sequence[str | list[str]]) -> list[str]:
    """Return the command in lines of its arguments: an option and its value in one."""
    parts = [dump_inline([part])[1:-1] for part in command]  # as the entry of a list
    line = f"command: [{', '.join(parts)}]"
    if len(line) <= _WIDTH:
        return [line]
    rows: list[str] = []
    here = ""
    index = 0
    while index < len(parts):
        part = command[index]
        option = isinstance(part, str) and part.startswith("-") and "{" not in part and index + 1 < len(parts)
        words = ", ".join(parts[index : index + 1 + option])
        if here and len(here) + len(words) > _WIDTH - 6:
            rows.append(here)
            here = ""
        here = f"{here}, {words}" if here else words
        index += 1 + option
    rows.append(here)
    return ["command: [", *(f"  {row}," for row in rows), "]"]


def _metrics(draft: Draft) -> list[str]:
    written = [{"name": metric.name, "direction": metric.direction} for metric in draft.metrics]
    line = f"metrics: {dump_inline(written)}"
    open_questions = [f"{metric.name}: {metric.decide}" for metric in draft.metrics if metric.decide]
    return [*(line for said in open_questions for line in _comment(f"decide: {said}", "")), line]


def _entry(entry: Entry, indentation: str) -> list[str]:
    """Return the lines of a parameter or a constant, with why it is so behind it."""
    declared = entry.declared
    above = _comment(f"decide: {entry.decide}", indentation) if entry.decide else []
    nested = declared.get("choices") if isinstance(declared, dict) else None
    if isinstance(nested, dict) and any(nested.values()):
        lines = [f"{indentation}{dump_inline(entry.name)}:{_behind(entry.why)}", f"{indentation}  choices:"]
        return [
            *above,
            *lines,
            *(f"{indentation}    {dump_inline(choice)}: {dump_inline(held)}" for choice, held in nested.items()),
        ]
    return [*above, f"{indentation}{dump_inline(entry.name)}: {dump_inline(declared)}{_behind(entry.why)}"]


def _setting(entry: Entry) -> list[str]:
    above = _comment(f"decide: {entry.decide}", "") if entry.decide else []
    value = dump_inline(entry.declared)
    if entry.name == "enqueue":
        return [*above, f"enqueue:{_behind(entry.why)}", *(f"  - {dump_inline(one)}" for one in entry.declared)]
    return [*above, f"{entry.name}: {value}{_behind(entry.why)}"]


def _behind(why: str) -> str:
    return f"  # {printable_line(why)}" if why else ""


def _comment(text: str, indentation: str) -> list[str]:
    """Return a comment in lines that are not too long."""
    lines: list[str] = []
    here = ""
    for word in printable_line(text).split():
        if here and len(here) + len(word) > _WIDTH - 4 - len(indentation):
            lines.append(here)
            here = ""
        here = f"{here} {word}" if here else word
    return [f"{indentation}# {line}" for line in [*lines, here]]


def decisions(text: str) -> list[tuple[int, str]]:
    """Return the lines of a study at which a person must decide, and what."""
    found: list[tuple[int, str]] = []
    lines = text.splitlines()
    for index, line in enumerate(lines):
        before, mark, said = line.partition(DECIDE)
        if not mark:
            continue
        following = index + 1
        while following < len(lines) and _continues(lines[following]):
            said += f" {lines[following].strip().removeprefix('#').strip()}"
            following += 1
        # Behind a key it is about that one; in a line of its own about the next.
        about = before if before.strip() else lines[following] if following < len(lines) else ""
        key = about.strip().partition(":")[0]
        found.append((index + 1, f"{key}: {said.strip()}" if key else said.strip()))
    return found


def _continues(line: str) -> bool:
    return line.lstrip().startswith("# ") and DECIDE not in line


def in_words(declared: Any) -> str:
    """Return a range in words: `1e-4 to 0.01, log`, `16, 32 or 64`; a constant as YAML writes it."""
    if not isinstance(declared, dict):
        return dump_inline(declared)
    if "choices" in declared:
        return _either([dump_inline(choice) for choice in declared["choices"]])
    if "low" not in declared:
        return dump_inline(declared)
    step = f", step {show(declared['step'])}" if "step" in declared else ""
    return f"{show(declared['low'])} to {show(declared['high'])}{', log' if declared.get('log') else step}"


def rows_in_words(name: str, declared: Any, why: str) -> list[tuple[str, str, str]]:
    """Return name, range and reason of a parameter, and below it those that its choices bring with them."""
    rows = [(name, in_words(declared), why)]
    nested = declared.get("choices") if isinstance(declared, dict) else None
    brought: dict[str, tuple[str, Any, list[str]]] = {}
    for choice, held in nested.items() if isinstance(nested, dict) else ():
        for child, inner in (held or {}).items():
            if isinstance(inner, dict):
                brought.setdefault(f"{child} {inner}", (child, inner, []))[2].append(dump_inline(choice))
    for child, inner, choices in brought.values():
        rows += [(f"  {one[0]}", *one[1:]) for one in rows_in_words(child, inner, f"with {_either(choices)}")]
    return rows


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
