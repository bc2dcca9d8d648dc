"""Source files of objectives: which are found without importing them, and when they count as the same."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from hpo.objective import sources
from hpo.objective.sources import sources_of
from hpo.trial import ObjectiveRef


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


PROJECT = {
    "train.py": "import json, numpy\nimport hpo\nfrom models.net import Net\ndef train(trial):\n    import late\n",
    "late.py": "import loop\n",
    "loop.py": "import train\n",
    "models/__init__.py": "",
    "models/net.py": "from . import layers\nfrom .blocks.conv import *\n",
    "models/layers.py": "",
    "models/blocks/conv.py": "from ..util import one\n",
    "models/util.py": "import json.decoder\n",
    "unused.py": "",
    "json/__init__.py": "",
}


def test_all_that_a_file_of_the_project_imports_counts_and_nothing_else(tmp_path: Path) -> None:
    root = write(tmp_path, {name: text for name, text in PROJECT.items() if not name.startswith("json")})
    found = sources_of(ObjectiveRef(target=f"{root}/train.py:train", root=str(root)))
    assert found.place == str(root / "train.py")
    expected = {"train.py", "late.py", "loop.py", "models/__init__.py", "models/net.py", "models/layers.py"}
    assert set(found.files) == expected | {"models/blocks/conv.py", "models/util.py"}
    assert set(sources_of(ObjectiveRef(target="models.net:Net", root=str(root))).files) == {
        name for name in expected | {"models/blocks/conv.py", "models/util.py"} if name.startswith("models")
    }


def test_the_mark_is_that_of_the_content_wherever_it_lies(tmp_path: Path) -> None:
    root = write(tmp_path / "one", PROJECT)
    first = sources_of(ObjectiveRef(target="train:train", root=str(root)))
    shutil.copytree(root, tmp_path / "two")
    moved = sources_of(ObjectiveRef(target="train:train", root=str(tmp_path / "two")))
    assert moved.mark == first.mark != ""
    assert moved.place != first.place
    (root / "unused.py").write_text("changed")
    assert sources_of(ObjectiveRef(target="train:train", root=str(root))).mark == first.mark
    (root / "models" / "util.py").write_text("changed = 1")
    assert sources_of(ObjectiveRef(target="train:train", root=str(root))).mark != first.mark


def test_a_link_to_the_project_is_the_project(tmp_path: Path) -> None:
    root = write(tmp_path / "one", PROJECT)
    (tmp_path / "link").symlink_to(root)
    there, here = (ObjectiveRef(target="train:train", root=str(tmp_path / name)) for name in ("one", "link"))
    assert sources_of(there) == sources_of(here)


def test_one_of_hpo_is_known_by_its_module_and_one_that_is_gone_by_nothing(tmp_path: Path) -> None:
    found = sources_of(ObjectiveRef(target="objectives.quickstart:train", root=str(tmp_path)))
    assert found.place == "objectives/quickstart/__init__.py"
    assert "objectives/losses/focal.py" in found.files
    assert all(name.startswith("objectives/") for name in found.files)
    assert sources_of(ObjectiveRef(target="gone:train", root=str(tmp_path))).mark == ""


def test_own_objectives_that_use_those_of_hpo(tmp_path: Path) -> None:
    root = write(tmp_path, {"train.py": "from objectives.losses import focal\n"})
    files = sources_of(ObjectiveRef(target="train:train", root=str(root))).files
    assert {Path(name).name for name in files} >= {"train.py", "focal.py"}


@pytest.mark.parametrize(
    ("command", "files"),
    [
        (("python", "train.py", "{x}"), {"train.py", "helper.py"}),
        ((sys.executable, "src/main.py", "--config", "config.yaml"), {"src/main.py", "src/near.py", "config.yaml"}),
        (("python", "-m", "pkg.run", "{x}"), {"pkg/run.py", "pkg/__init__.py", "helper.py"}),
        (("./run.sh", "{x}"), {"run.sh"}),
        (("bash", "-c", "echo 1"), set()),
        (("python", "{directory}/train.py", ["--data", "data.bin"]), set()),
    ],
)
def test_files_of_a_command(tmp_path: Path, command: tuple[str, ...], files: set[str]) -> None:
    helper = {"helper.py": "", "train.py": "import helper, argparse", "run.sh": "echo", "config.yaml": "a: 1"}
    packages = {"pkg/__init__.py": "", "pkg/run.py": "import helper", "src/main.py": "import near", "src/near.py": ""}
    root = write(tmp_path, helper | packages)
    (root / "data.bin").write_bytes(b"\0" * 10)
    command = tuple(part if isinstance(part, str) else tuple(part) for part in command)
    assert set(sources_of(ObjectiveRef(command=command, root=str(root))).files) == files


@pytest.mark.parametrize(
    ("program", "may_read"),
    [
        ("import argparse\nprint(1)\n", False),
        ("import hpo\n", True),
        ("import os\nos.environ['HPO_PARAMS']\n", True),
        ("import subprocess\n", True),
    ],
)
def test_a_program_may_read_its_parameters_elsewhere(tmp_path: Path, program: str, may_read: bool) -> None:
    write(tmp_path, {"train.py": program})
    assert sources_of(ObjectiveRef(command=("python", "train.py"), root=str(tmp_path))).may_read == may_read


@pytest.mark.parametrize("text", ["def train(:", "\0", "(" * 5000, "x = 1\n" * 10**6])
def test_what_cannot_be_parsed_is_one_file(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"train.py": text})
    assert list(sources_of(ObjectiveRef(target=f"{tmp_path}/train.py:train", root=str(tmp_path))).files) == ["train.py"]


def test_a_large_project_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_FILES", 5)
    write(tmp_path, {f"m{n}.py": f"import m{n + 1}\n" for n in range(20)})
    assert len(sources_of(ObjectiveRef(target="m0:train", root=str(tmp_path))).files) == 5
