"""The architecture page, the import contracts and the tree say the same."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "concepts" / "architecture.md").read_text()
# A docstring names the thing or what it does; these begin a fragment that only the author can complete.
FRAGMENTS = ("Of", "What", "Where", "Whether", "How", "By", "Who", "If", "When", "Which")


def rooms() -> set[str]:
    """Names of the packages and modules at the top of hpo."""
    found = {path.parent.name for path in (ROOT / "hpo").glob("*/__init__.py")}
    return found | {path.stem for path in (ROOT / "hpo").glob("*.py") if not path.stem.startswith("__")}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def sources() -> Iterator[Path]:
    for package in ("hpo", "objectives"):
        yield from sorted((ROOT / package).rglob("*.py"))


def test_each_room_has_one_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section("Rooms"), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == rooms()


def test_the_floors_of_the_page_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["id"] == "floors")
    wanted = [sorted(re.findall(r"\w+", layer)) for layer in layers]
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", section("What may import what"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(len(layers), 0, -1))
    assert [sorted(re.findall(r"`(\w+)`", names)) for _, names in rows] == wanted
    assert not any(":" in layer for layer in layers)


def test_there_are_few_rooms() -> None:
    top = [path for path in (ROOT / "hpo").iterdir() if path.name != "__pycache__"]
    inner = [path.parent for path in (ROOT / "hpo").glob("*/*/__init__.py")]
    assert len([path for path in top if path.is_file()]) <= 10
    assert len(top) + len(inner) <= 38


def test_each_package_says_what_belongs_in_it() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "hpo").rglob("__init__.py")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    fragments = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                first = re.match(r"\w+", ast.get_docstring(node) or "")
                if first and first.group() in FRAGMENTS:
                    fragments.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {first.group()}")
    assert fragments == []
