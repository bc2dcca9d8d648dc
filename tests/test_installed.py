"""The wheel in an environment of its own, as a user has it: without the checkout."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from waiting import wait_until

import hpo

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Installed:
    """`hpo` of a virtual environment, and an empty folder to work in."""

    program: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """That of a user: nothing of it leads to the checkout."""
        left_out = ("PYTHONPATH", "HPO_RUNS", "MLFLOW_TRACKING_URI", "VIRTUAL_ENV")
        kept = {key: value for key, value in os.environ.items() if key not in left_out}
        return kept | {"PATH": f"{self.program.parent}:/usr/bin:/bin"}

    def run(self, *arguments: str, **more: str) -> str:
        """Return what `hpo` prints; it must end well."""
        command = [str(self.program), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment | more, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def serve(self, *arguments: str) -> Iterator[str]:
        """A server that is interrupted at the end; gives the first line that it prints."""
        server = subprocess.Popen(
            [str(self.program), *arguments], cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=300)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from the sdist alone."""
    pytest.importorskip("build", reason="`make test-slow` installs the package 'build'")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in a new environment. Its dependencies are this environment's, which would take gigabytes to install
    again: a folder on the path, in which `.pth` files, such as that of an editable hpo, have no effect."""
    home = tmp_path_factory.mktemp("user")
    subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True)
    python = home / "venv" / "bin" / "python"
    (wheel,) = built.glob("hpo-*.whl")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(home / "venv")})
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (home / "empty folder").mkdir()
    found = Installed(home / "venv" / "bin" / "hpo", home / "empty folder")
    where = subprocess.run(
        [str(python), "-c", "import hpo, objectives; print(hpo.__file__, objectives.__file__)"],
        cwd=found.folder, env=found.environment, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert all(Path(path).is_relative_to(packages) for path in where)
    return found


def test_the_wheel_holds_code_and_yaml_and_no_tests(built: Path) -> None:
    (wheel,) = built.glob("hpo-*.whl")
    assert wheel.name == f"hpo-{hpo.__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    folders = ("hpo", "objectives", "search_spaces", "studies")
    tracked = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(tracked.splitlines()) <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]


def test_the_sdist_holds_what_its_makefile_needs(built: Path) -> None:
    (sdist,) = built.glob("hpo-*.tar.gz")
    top = f"hpo-{hpo.__version__}"
    with tarfile.open(sdist) as archive:
        names = {name.removeprefix(f"{top}/") for name in archive.getnames()}
    expected = [
        "Makefile",
        "constraints.txt",
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
    ]
    assert {*expected, "docs/conf.py", "docs/tutorial.md", "tests/conftest.py", "hpo/cli/main.py"} <= names


def test_the_version_is_said(installed: Installed) -> None:
    assert installed.run("--version") == f"hpo {hpo.__version__}\n"


@pytest.mark.parametrize("study", sorted(path.stem for path in ROOT.glob("studies/*.yaml")))
def test_every_built_in_study_is_found_by_its_name(installed: Installed, study: str) -> None:
    assert study in installed.run("list", "--built-in")
    assert study in installed.run("check", study, "--import").splitlines()[0]


@pytest.fixture(scope="module")
def ran(installed: Installed) -> Installed:
    """A study that comes with hpo, run by its name to its report."""
    small = ["--trials", "3", "--set", "constants.epochs=2", "--set", "engine.workers=2"]
    installed.run("run", "quickstart", *small)
    return installed


def test_a_built_in_study_runs_to_its_report(ran: Installed) -> None:
    report = ran.folder / "runs" / "quickstart" / "report.html"
    assert report.stat().st_size > 1_000_000
    assert "plotly" in report.read_text()
    assert "3 of 3 trials" in ran.run("status", "quickstart")
    assert ran.run("report", "quickstart", "--lang", "zh-TW")


def test_the_dashboards_start(ran: Installed) -> None:
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with ran.serve("dashboard", "--port", "0") as link, browser.open(link, timeout=300) as page:
        assert b"Optuna Dashboard" in page.read()
    with ran.serve("mlflow", "--port", "0") as link:
        assert re.match(r"http://127\.0\.0\.1:\d+/#/", link)

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"{link.partition('/#')[0]}/health", timeout=5):
                    return True
            except OSError:
                return False

        wait_until(answers, 300)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_works(ran: Installed, shell: str) -> None:
    assert "_HPO_COMPLETE" in ran.run(_HPO_COMPLETE=f"{shell}_source")


def test_completion_knows_the_studies(ran: Installed) -> None:
    asked = {"_HPO_COMPLETE": "bash_complete", "COMP_WORDS": "hpo status qui", "COMP_CWORD": "2"}
    assert "plain,quickstart" in ran.run(**asked).splitlines()
