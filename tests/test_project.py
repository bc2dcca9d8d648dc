"""What holds the project together: packaging, pins, Makefile, links, and examples that are true."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hpo.search.samplers import PRUNERS, SAMPLERS
from hpo.space.search_space import SearchSpace
from hpo.spec.load import KEYS, load_spec
from hpo.spec.models import Budget, EngineSpec, MlflowSpec

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
FAMILIES = sorted(ROOT.glob("search_spaces/*.yaml"))
STUDIES = sorted(ROOT.glob("studies/*.yaml"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_dependency_is_pinned_to_one_version_and_nothing_by_url() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)] == []
    pins = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    for written in project["dependencies"] + extras["dev"] + extras["docs"]:
        requirement = Requirement(written)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_the_wheel_carries_the_packages_that_hold_yaml() -> None:
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert packages == ["hpo", "objectives", "search_spaces", "studies"]
    assert FAMILIES
    assert STUDIES


def test_every_make_target_says_what_it_does_and_is_in_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert targets == set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())
    assert {"run", "test", "test-slow", "check"} <= targets
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[0] for line in shown.splitlines()} == targets
    readme = (ROOT / "README.md").read_text()
    for target in targets - {"help"}:
        assert f"make {target}" in readme or f"`{target}`" in readme


def test_continuous_integration_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("\nmake test")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, link


def test_the_parameters_shown_in_the_reference_are_valid(tmp_path: Path) -> None:
    reference = (ROOT / "docs" / "study-yaml.md").read_text()
    table = reference.split("## search_space")[1].split("\n## ")[0]
    written = re.findall(r"^\| `(\w+: .*?)` \|", table, re.MULTILINE)
    assert len(written) == 10
    metrics = "[{name: m, direction: minimize}]"
    study = f"{{name: s, command: [python], metrics: {metrics}, budget: {{trials: 1}}, search_space: {{%s}}}}"
    for parameter in written:
        (tmp_path / "study.yaml").write_text(study % parameter)
        load_spec(tmp_path / "study.yaml")


def test_every_key_of_a_study_is_in_the_reference() -> None:
    reference = (ROOT / "docs" / "study-yaml.md").read_text()
    for keys in (KEYS, Budget.model_fields, EngineSpec.model_fields, MlflowSpec.model_fields):
        assert [key for key in keys if f"| `{key}` |" not in reference] == []
    for names in (SAMPLERS, PRUNERS):
        assert [name for name in names if f"`{name}`" not in reference] == []


@pytest.mark.parametrize("family", FAMILIES, ids=name_of)
def test_a_family_says_where_each_range_comes_from(family: Path) -> None:
    text = family.read_text()
    space = SearchSpace.parse(yaml.safe_load(text))
    comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    searched = [p for parameter in space.parameters for p in (parameter, *sum(parameter.children.values(), ()))]
    for parameter in searched:
        said = re.search(rf"^# (\w+, )*{parameter.name}(, \w+)*:", comments, re.MULTILINE)
        assert parameter.children or said, parameter.name


@pytest.mark.parametrize("study", STUDIES, ids=name_of)
def test_studies_are_valid(study: Path) -> None:
    assert load_spec(study).name == study.stem


def test_the_quickstart_is_what_it_promises() -> None:
    spec = load_spec(ROOT / "studies" / "quickstart.yaml")
    parameters = {parameter.name: parameter for parameter in spec.space.parameters}
    assert set(parameters) == {"architecture", "learning_rate", "batch_size", "loss"}
    assert len(parameters["architecture"].choices) == 3
    assert [child.name for child in parameters["loss"].children["focal"]] == ["gamma", "alpha"]
    assert spec.budget.trials is not None
    assert spec.budget.trials >= 36
    assert {entry["architecture"] for entry in spec.enqueue} == set(parameters["architecture"].choices)
