"""Write docs/reference/licences.md: the licences of the packages that hpo stands on, as they are installed here.

make licences
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "licences.md"
TOP = """# Licences of what hpo stands on

hpo itself is under the MIT licence. These packages are installed with it, directly or by another one of them; extras
and what only the tests need are left out. `make licences` makes this page from what the packages say of themselves.

| package | licence | |
|---|---|---|
"""


def installed_with(roots: list[str]) -> set[str]:
    """Return the names of packages and of what they require on this machine."""
    found: set[str] = set()
    left = [Requirement(one) for one in roots]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        try:
            needed = requires(name) or []
        except PackageNotFoundError:  # of another platform
            continue
        found.add(name)
        extras = ["", *requirement.extras]
        for inner in map(Requirement, needed):
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                left.append(inner)
    return found


def page() -> str:
    """Return the page's text."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = sorted(installed_with(project["dependencies"]))
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--with-urls", "--packages", *names]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    lines = []
    for row in sorted(rows, key=lambda row: canonicalize_name(row["Name"])):
        licence = " ".join(row["License"].split()).replace("|", "\\|")
        link = f"[home]({row['URL']})" if row["URL"].startswith("http") else ""
        said = "see its own file" if licence == "UNKNOWN" or len(licence) > 100 else licence
        lines.append(f"| {row['Name']} | {said} | {link} |")
    return TOP + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
