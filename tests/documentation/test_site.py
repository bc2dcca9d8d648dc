"""The pages that are made from the source, and the site that is made of all pages."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

import hpo
from hpo.cli.main import COMMANDS
from hpo.spec.load import load_spec
from hpo.spec.yaml_document import dump, load_text

from .blocks import ROOT

DOCS = ROOT / "docs"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_keys_is_what_the_schema_says() -> None:
    keys = script("keys_page")
    assert (DOCS / "reference" / "keys.md").read_text() == keys.page(keys.schema()), "run python docs/keys_page.py"


def test_the_examples_of_the_page_of_keys_are_right(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def train(trial):\n    return {}\n")
    keys = script("keys_page")
    page = keys.page(keys.schema())
    whole: dict[str, Any] = {"name": "s", "objective": "train.py:train", "budget": {"trials": 1}}
    whole["metrics"] = [{"name": "val_loss", "direction": "minimize"}]
    whole["search_space"] = {"learning_rate": {"low": 1e-4, "high": 1e-1}, "unfreeze_epoch": {"low": 1, "high": 3}}

    def loads(**given: Any) -> None:
        (tmp_path / "study.yaml").write_text(dump(whole | given))
        load_spec(tmp_path / "study.yaml")

    for form in keys.FORMS:
        loads(search_space=load_text(form, "form").data | whole["search_space"])
    parts = re.split(r"^## ", page, flags=re.MULTILINE)
    for title, key in (
        ("Red flags", "red_flags"),
        ("Options of a sampler", "sampler"),
        ("Options of a pruner", "pruner"),
    ):
        (part,) = [part for part in parts if part.startswith(title)]
        examples = re.findall(r"^Such as `(.*)`\.$", part, re.MULTILINE)
        assert len(examples) >= 8
        for example in examples:
            data = load_text(example, "example").data
            if data["name"] not in ("racing", "pbt"):  # they ask more of the rest of the study
                loads(**{key: [data] if key == "red_flags" else data})


def test_the_page_of_licences_has_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = re.findall(r"^\| ([\w.-]+) \|", (DOCS / "reference" / "licences.md").read_text(), re.MULTILINE)
    known = {name.lower().replace("_", "-") for name in listed}
    missing = [one for one in project["dependencies"] if Requirement(one).name.lower() not in known]
    assert missing == [], "run make licences"


def test_the_page_of_python_names_has_every_public_one() -> None:
    page = (DOCS / "reference" / "python.md").read_text()
    assert set(re.findall(r"^\.\. auto\w+:: hpo\.(\w+)", page, re.MULTILINE)) == set(hpo.__all__)


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0].strip("[]") in (hpo.__version__, "Unreleased")
    assert hpo.__version__ in [version.strip("[]") for version in versions]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="`make test-slow` installs Sphinx")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-c", str(DOCS)]
    command += ["-d", str(tmp_path / "trees"), str(ROOT), str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    assert "url=docs/index.html" in (site / "index.html").read_text()
    commands = (site / "docs" / "reference" / "commands.html").read_text()
    assert [name for name in COMMANDS if f'id="hpo-{name}"' not in commands] == []
    names = (site / "docs" / "reference" / "python.html").read_text()
    assert [name for name in hpo.__all__ if f'id="hpo.{name}"' not in names] == []
    # Every page of the folder is in the navigation.
    front = (site / "docs" / "index.html").read_text()
    guides = [path.stem for path in DOCS.glob("guides/*.md")]
    assert [name for name in guides if f'href="guides/{name}.html"' not in front] == []
