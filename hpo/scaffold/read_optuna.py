"""Suggestions of an Optuna script, as far as they are literal."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from hpo.errors import ScaffoldError
from hpo.scaffold.draft import MISSING, Entry, key_name, refused
from hpo.scaffold.python_source import Script, assignments, call_name, keyword

_SUGGESTS = ("suggest_float", "suggest_int", "suggest_categorical", "suggest_uniform", "suggest_loguniform",
             "suggest_discrete_uniform")  # fmt: skip


@dataclass
class Objective:
    """Function that suggests, with what it suggests: parameters in their order, and what could not be read."""

    function: ast.FunctionDef
    entries: list[Entry] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def is_optuna(script: Script) -> bool:
    """Return True if a script asks an Optuna trial for parameters."""
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SUGGESTS
        for node in ast.walk(script.tree)
    ) and any(module.partition(".")[0] == "optuna" for module in script.bound_modules.values())


def objective_of(script: Script) -> Objective:
    """Return the function of the script's suggestions, with what functions that it calls suggest."""
    suggesting: dict[str, list[ast.Call]] = {}
    functions: dict[str, ast.FunctionDef] = {}
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SUGGESTS:
            holder = next((one for one in script.above(node) if isinstance(one, ast.FunctionDef)), None)
            if holder is not None:
                functions[holder.name] = holder
                suggesting.setdefault(holder.name, []).append(node)
    main = _optimized(script)
    if main is not None:
        functions.setdefault(main.name, main)
    else:
        called = {call_name(node) for node in ast.walk(script.tree) if isinstance(node, ast.Call)}
        main = next((one for name, one in functions.items() if name == "objective"), None)
        main = main or next((one for name, one in functions.items() if name not in called), None)
        main = main or next(iter(functions.values()), None)
    if main is None:
        raise ScaffoldError(f"{script.path}: its suggestions stand in no function; expected def objective(trial)")
    found = Objective(main)
    taken: set[str] = set()
    for call in sorted((call for calls in suggesting.values() for call in calls), key=script.start):
        for name, declared, why in _suggested(script, call, found.unread):
            branch = _branch(script, call)
            if branch is not None and _nest(found.entries, branch, name, declared):
                taken.add(name)
                continue
            if name in taken:
                continue
            taken.add(name)
            if key_name(name, ()) != name:
                found.unread.append(
                    f"'{name}' is no name of a parameter here; rename it in the script (letters, digits, _)"
                )
                continue
            where = _condition(script, call)
            decide = f"only asked for where {where}; elsewhere it has no effect" if where else ""
            found.entries.append(Entry(name, declared, why, decide))
    return found


def _optimized(script: Script) -> ast.FunctionDef | None:
    """Return the function that `study.optimize` is given."""
    functions = {one.name: one for one in script.tree.body if isinstance(one, ast.FunctionDef)}
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Call) and call_name(node).endswith(".optimize"):
            given = node.args[0] if node.args else keyword(node, "func")
            if isinstance(given, ast.Lambda) and isinstance(given.body, ast.Call):
                given = given.body.func
            if isinstance(given, ast.Name) and given.id in functions:
                return functions[given.id]
    return None


def _suggested(script: Script, call: ast.Call, unread: list[str]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the name, the range and the reason of what a call suggests; several where a loop asks by number."""
    assert isinstance(call.func, ast.Attribute)
    kind = call.func.attr
    given = call.args[0] if call.args else keyword(call, "name")
    declared = _declared(script, call, kind)
    if declared is None or refused(declared):
        unread.append(
            f"line {call.lineno}: the bounds or choices of `{ast.unparse(call)}` are no literals; give a range"
        )
        return
    literal = script.literal(given)
    if isinstance(literal, str):
        yield literal, declared, f"line {call.lineno}"
        return
    names = list(_numbered(script, call, given))
    if not names:
        unread.append(
            f"line {call.lineno}: the name `{ast.unparse(given) if given else ''}` is no literal; add each by hand"
        )
    for name in names:
        yield name, declared, f"line {call.lineno}, in a loop"


def _declared(script: Script, call: ast.Call, kind: str) -> dict[str, Any] | None:
    def value(index: int, name: str) -> Any:
        node = call.args[index] if len(call.args) > index else keyword(call, name)
        return script.literal(node)

    if kind == "suggest_categorical":
        choices = value(1, "choices")
        usable = isinstance(choices, (list, tuple)) and choices
        if not usable or not all(one is None or isinstance(one, (str, int, float)) for one in choices):
            return None
        return {"choices": list(choices)}
    low, high = value(1, "low"), value(2, "high")
    if not all(isinstance(bound, (int, float)) and abs(bound) < 2**53 for bound in (low, high)):
        return None
    log = script.literal(keyword(call, "log")) is True or kind == "suggest_loguniform"
    step = value(3, "q") if kind == "suggest_discrete_uniform" else script.literal(keyword(call, "step"))
    if kind != "suggest_int":
        low, high = float(low), float(high)
    if not low < high:
        return None
    found: dict[str, Any] = {"low": low, "high": high}
    if log:
        found["log"] = True
    elif isinstance(step, (int, float)) and step > 1e-9 and not (kind == "suggest_int" and step == 1):
        # Optuna rounds the upper bound down to a whole number of steps.
        steps = int((high - low) / step + 1e-9)
        found = {"low": low, "high": type(low)(round(low + steps * step, 12)), "step": type(low)(step)}
    return found


def _numbered(script: Script, call: ast.Call, name: ast.expr | None) -> Iterator[str]:
    """Yield the names that an f-string has in a loop over range(n), or up to a suggested number."""
    pattern, variable = _pattern(name, script)
    if not variable:
        return
    for node in script.above(call):
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name) and node.target.id == variable:
            bounds = [_most(script, one) for one in node.iter.args] if isinstance(node.iter, ast.Call) else []
            if not bounds or any(bound is None for bound in bounds) or call_name(node.iter) != "range":
                return
            try:
                yield from [pattern.format(number) for number in range(*[one for one in bounds if one is not None][:2])]
            except (IndexError, KeyError, ValueError):  # the text holds other braces
                return
            return


def _pattern(name: ast.expr | None, script: Script) -> tuple[str, str]:
    """Return the pattern of a numbered name, and the variable in it: ("layer_{}", "i")."""
    if isinstance(name, ast.JoinedStr):
        values = [part for part in name.values if isinstance(part, ast.FormattedValue)]
        if len(values) == 1 and isinstance(values[0].value, ast.Name):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in name.values]
            return "".join(map(str, parts)), values[0].value.id
    if isinstance(name, ast.Call) and isinstance(name.func, ast.Attribute) and name.func.attr == "format":
        literal = script.literal(name.func.value)
        if isinstance(literal, str) and len(name.args) == 1 and isinstance(name.args[0], ast.Name):
            return literal, name.args[0].id
    return "", ""


def _most(script: Script, node: ast.expr) -> int | None:
    """Return the most that a bound of a range is: a literal, or the upper bound of what was suggested for it."""
    literal = script.literal(node)
    if isinstance(literal, int) and not isinstance(literal, bool):
        return min(literal, 100)
    if isinstance(node, ast.Name):
        for inner in ast.walk(script.tree):
            for name, value, _ in assignments([inner]) if isinstance(inner, ast.stmt) else ():
                if name == node.id and isinstance(value, ast.Call) and call_name(value).endswith(".suggest_int"):
                    declared = _declared(script, value, "suggest_int")
                    return min(int(declared["high"]), 100) if declared else None
    return None


def _conditions(script: Script, call: ast.Call) -> tuple[list[ast.expr], bool]:
    """Return the conditions under which a suggestion is asked for, and whether they are all that decides it."""
    here: ast.AST = call
    found: list[ast.expr] = []
    for node in script.above(call):
        if isinstance(node, (ast.If, ast.IfExp)) and here is not node.test:
            taken = here in node.body if isinstance(node, ast.If) else here is node.body
            found.append(node.test if taken else ast.UnaryOp(ast.Not(), node.test))
        if isinstance(node, (ast.For, ast.While, ast.Try, ast.Match, ast.BoolOp)):
            return found, False
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            break
        here = node
    return found, True


def _condition(script: Script, call: ast.Call) -> str:
    """Return where a suggestion is asked for, if that is not everywhere."""
    return " and ".join(map(ast.unparse, reversed(_conditions(script, call)[0])))


def _branch(script: Script, call: ast.Call) -> tuple[str, Any] | None:
    """Return the choice that brings a suggestion, ("optimizer", "SGD"); None if its condition is not so simple."""
    conditions, alone = _conditions(script, call)
    test = conditions[0] if alone and len(conditions) == 1 else None
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return None
    value = script.literal(test.comparators[0])
    asked: ast.expr = test.left
    if isinstance(asked, ast.Name):
        variable = asked.id
        for inner in ast.walk(script.tree):
            for name, assigned, _ in assignments([inner]) if isinstance(inner, ast.stmt) else ():
                if name == variable and isinstance(assigned, ast.Call):
                    asked = assigned
    if isinstance(asked, ast.Call) and call_name(asked).endswith(".suggest_categorical") and asked.args:
        parent = script.literal(asked.args[0])
        return (parent, value) if isinstance(parent, str) and value is not MISSING else None
    return None


def _nest(entries: list[Entry], branch: tuple[str, Any], name: str, declared: dict[str, Any]) -> bool:
    """Put a parameter below the choice that brings it; False if there is no such choice, or it stands elsewhere too."""
    parent, value = branch
    if any(entry.name == name for entry in entries) or key_name(name, ()) != name:
        return False
    for index, entry in enumerate(entries):
        choices = entry.declared.get("choices") if entry.name == parent else None
        if choices and any(type(one) is type(value) and one == value for one in choices):
            held = choices if isinstance(choices, dict) else {choice: {} for choice in choices}
            entries[index] = replace(entry, declared={"choices": {**held, value: {**held[value], name: declared}}})
            return True
    return False
