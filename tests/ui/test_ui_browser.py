"""`hpo ui` in a real browser: a study while it runs, and one of 5,000 trials of 50 epochs."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from books import processes_of, start
from browser import Tab
from waiting import leftover, wait_until

from hpo.control.requests import read_steering
from hpo.storage.driver_lock import driver_of
from hpo.storage.load_study import load_study

from .serving import REPOSITORY, Served

pytestmark = pytest.mark.slow

WIDTHS = (400, 1400)
# What a loaded page has: no part that is still to come, and no figure that is not drawn.
LOADED = (
    "!document.querySelector('[hx-trigger=load]') && "
    "[...document.querySelectorAll('details[open] .plot, main > * > .plot, section > .plot, .row .plot')]"
    ".every((plot) => plot.closest('details:not([open])') || plot.classList.contains('js-plotly-plot'))"
)


def pictures() -> Path | None:
    """Where pictures of the pages go, if somebody wants to look at them ($HPO_PICTURES)."""
    given = os.environ.get("HPO_PICTURES")
    if given:
        Path(given).mkdir(parents=True, exist_ok=True)
    return Path(given) if given else None


def complaints(tab: Tab) -> list[str]:
    """What the page complained of, but for a browser without a graphics card."""
    return [line for line in tab.console if "GPU stall" not in line and "GL Driver" not in line]


def states(runs: Path) -> list[str]:
    return [trial.state.name for trial in load_study(runs, "toy")[1].trials]


@pytest.fixture
def live(study_yaml, runs: Path, tmp_path: Path) -> Iterator[tuple[Served, Path]]:
    """The pages, and a study at whose trials' last step a file in the folder `gates` is waited for."""
    gates = tmp_path / "gates"
    gates.mkdir()
    keys = {
        "search_space": {"x": {"low": 0.0, "high": 1.0}, "kind": {"choices": ["unet", "resnet"]}},
        "group_by": "kind",
        "engine": {"name": "local", "workers": 2},
        "budget": {"trials": 6},
        "constants": {"gates": str(gates), "steps": 6},
    }
    driver = start(study_yaml("slow", **keys), runs)
    try:
        with Served(runs) as served:
            yield served, gates
    finally:
        driver.kill()
        driver.wait()
        assert driver.stdout is not None
        driver.stdout.close()
        for process in processes_of(runs):
            process.kill()
        leftover(processes_of(runs))


def test_a_study_that_runs_is_followed_and_steered(live: tuple[Served, Path], runs: Path, tmp_path: Path):
    served, gates = live
    with Tab(tmp_path / "browser") as tab:
        tab.open(served.link)
        tab.wait_text("toy")
        tab.wait_text("running")
        tab.click("a", "toy")
        tab.wait_text("Running trials")
        tab.wait("document.querySelectorAll('.spark').length === 2")
        assert "token" not in tab.run("location.href")

        # It is seen, without a click, that a trial has ended.
        tab.run("window.same = true")
        tab.wait_text("0 of 6 trials")
        (gates / "0").touch()
        tab.wait_text("1 of 6 trials")
        tab.wait("document.querySelector('.js-plotly-plot')")
        assert tab.run("window.same"), "the page was not loaded again"

        tab.click("button", "Pause")
        tab.wait_text("is paused")
        tab.wait_text("Resume")
        assert read_steering(runs / "toy").paused is not None
        assert tab.asked == []
        tab.click("button", "Resume")
        tab.wait_text("goes on; it was paused")
        tab.wait("![...document.querySelectorAll('button')].some((b) => b.textContent === 'Resume')")

        tab.type("input[name=trials]", "+2")
        tab.click("button", "Extend")
        tab.wait_text("is now 8 trials (was 6)")
        tab.wait_text("1 of 8 trials")

        running = [number for number, state in enumerate(states(runs)) if state == "RUNNING"]
        tab.click("button", "Kill")
        wait_until(lambda: "FAIL" in states(runs))
        tab.wait_text("killed")
        assert states(runs).index("FAIL") in running
        assert [question.split("?")[0] for question in tab.asked] == ["Extend the budget", f"Kill trial {running[0]}"]

        for number in range(1, 4):
            (gates / str(number)).touch()
        wait_until(lambda: states(runs).count("COMPLETE") >= 3)
        tab.click("button", "Stop now")
        wait_until(lambda: driver_of(runs / "toy") is None)
        tab.wait_text("No driver is at work on it")
        tab.wait_text("stopped")
        assert complaints(tab) == []
        if folder := pictures():
            tab.photograph(folder / "live-stopped.png")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_a_study_that_runs_fits_the_page(live: tuple[Served, Path], tmp_path: Path, width: int, dark: bool):
    served, gates = live
    (gates / "0").touch()
    with Tab(tmp_path / "browser", width, dark=dark) as tab:
        tab.open(served.link)
        tab.wait_text("1 of 6")
        assert tab.beyond() == []
        for path in (
            "/study/toy",
            "/study/toy/trials",
            "/study/toy/trials/0",
            "/study/toy/trials/1",
            "/study/toy/heatmaps",
        ):
            tab.open(served.root + path)
            tab.wait(LOADED)
            assert tab.beyond() == [], path
            paper = tab.run("getComputedStyle(document.body).backgroundColor")
            assert paper == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")
            if folder := pictures():
                name = f"live{path.removeprefix('/study').replace('/', '-')}-{width}-{'dark' if dark else 'light'}"
                tab.photograph(folder / f"{name}.png")
        assert complaints(tab) == []


def test_a_page_whose_server_has_ended_says_so(runs: Path, tmp_path: Path):
    with Served(runs) as served, Tab(tmp_path / "browser") as tab:
        tab.open(served.link)
        tab.wait_text("There is no study in")
        assert not tab.run("document.getElementById('away').checkVisibility()")
        served.end()
        tab.wait("document.getElementById('away').checkVisibility()")


def test_the_links_of_the_report_lead_to_the_files_of_trials(study_yaml, runs: Path, tmp_path: Path):
    driver = start(study_yaml("raising", budget={"trials": 6}), runs)
    driver.communicate(timeout=600)
    with Served(runs) as served, Tab(tmp_path / "browser") as tab:
        tab.open(served.link)
        tab.wait_text("toy")
        tab.click("a", "toy")
        tab.wait_text("What ended trials early")
        tab.click("a", "Report")
        tab.wait("document.querySelector('#failures .table a')")
        assert tab.run("document.domain") == "" or tab.run("origin") == "null", "in a sandbox"
        tab.click("#failures .table a")
        tab.wait("location.pathname.startsWith('/study/toy/trials/')")
        tab.wait_text("ValueError: the labels are all zero")


# --- 5,000 trials of 50 epochs


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with such a study."""
    folder = tmp_path_factory.mktemp("large")
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "ui_study.py"), str(folder)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    return folder / "runs"


def test_a_large_study_costs_little(large: Path):
    """Seconds of processor, as what passes on the clock depends on what else the machine does (benchmarks/ui.py)."""
    with Served(large) as served:
        began = served.cpu_seconds
        served.get("/study/scale")
        assert "5000 of 5000 trials" in served.get("/study/scale/part/state")
        served.get("/study/scale/part/curves")
        first = served.cpu_seconds - began
        assert first < 2
        took = []
        for asked in (
            *("page=2", "sort=learning_rate&page=50", "q=focal+unet"),
            *("state=PRUNED&sort=seconds&order=reverse", "group=unet&q=8"),
        ):
            began = served.cpu_seconds
            assert served.get(f"/study/scale/part/rows?{asked}").count("<tr>") == 51
            took.append(served.cpu_seconds - began)
        assert max(took) < 0.5
        for part in ("history", "heatmaps", "parallel", "table"):
            served.get(f"/study/scale/part/{part}")
        for number in range(0, 5000, 100):
            served.get(f"/study/scale/trials/{number}/part")
        assert served.memory < 500
        print(f"first page {first:.2f} s, table page {max(took):.2f} s of processor, {served.memory:.0f} MB")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_a_large_study_is_browsed(large: Path, tmp_path: Path, width: int, dark: bool):
    look = f"{width}-{'dark' if dark else 'light'}"
    with Served(large) as served, Tab(tmp_path / "browser", width, dark=dark) as tab:
        folder = pictures()

        def looked_at(name: str) -> None:
            tab.wait(LOADED)
            assert tab.beyond() == [], name
            if folder:
                time.sleep(0.5)
                tab.photograph(folder / f"large-{name}-{look}.png")

        tab.open(served.link)
        tab.wait_text("5000 of 5000 trials")
        looked_at("studies")
        tab.click("a", "scale")
        tab.wait_text("Best score of each architecture")
        looked_at("study")

        tab.click("nav a", "Trials")
        tab.wait_text("of 100 pages")
        looked_at("trials")
        first = tab.run("document.querySelector('tbody a').textContent")
        tab.click(".pages a", "2")
        tab.wait("location.search.includes('page=2')")
        tab.wait(f"document.querySelector('tbody a').textContent !== '{first}'")
        tab.click("th a", "learning_rate")
        tab.wait("document.querySelector('th[aria-sort]')?.textContent.includes('learning_rate')")
        rates = tab.run("[...document.querySelectorAll('tbody tr')].map((row) => Number(row.cells[6].textContent))")
        assert rates == sorted(rates)
        tab.click("th a", "learning_rate")
        tab.wait("document.querySelector('th[aria-sort=descending]')")
        tab.type("input[name=q]", "focal")
        tab.wait("[...document.querySelectorAll('tbody tr')].every((row) => row.textContent.includes('focal'))")
        tab.run("(() => { const s = document.querySelector('select[name=state]'); s.value = 'PRUNED'; "
                "s.dispatchEvent(new Event('change', {bubbles: true})); })()")  # fmt: skip
        tab.wait("[...document.querySelectorAll('tbody tr')].every((row) => row.textContent.includes('PRUNED'))")
        tab.open(tab.run("location.href"))
        tab.wait("document.querySelector('tbody tr')")
        assert tab.run("document.querySelector('input[name=q]').value") == "focal", "the address holds what was chosen"

        tab.click("tbody a")
        tab.wait_text("Verdict")
        tab.type("input[name=with]", "9")
        tab.click("button", "Compare")
        tab.wait_text("Curves beside each other")
        looked_at("trial")
        tab.click("summary", "Epochs")
        tab.wait("document.querySelector('details[open]')")

        tab.click("nav a", "Heatmaps")
        tab.wait("document.querySelectorAll('.js-plotly-plot').length === 4")
        looked_at("heatmaps")

        tab.click("nav a", "Parallel coordinates")
        tab.wait("document.querySelector('.parcoords .y-axis')")
        looked_at("parallel")
        brushed(tab)
        looked_at("parallel-chosen")
        assert complaints(tab) == []
        assert served.memory < 500


def brushed(tab: Tab) -> None:
    """Draw along a part of the scale of learning rates, and look at what is listed."""
    tab.run("document.querySelector('.plot').scrollIntoView({block: 'center', behavior: 'instant'})")
    box = "document.querySelectorAll('.parcoords .axis-brush .background')[1].getBoundingClientRect()"
    x, top, height = tab.run(f"((b) => [b.x + b.width / 2, b.top, b.height])({box})")
    tab.press(x, top + 0.2 * height, to=(x, top + 0.6 * height))
    tab.wait("/of [0-9]+ trials/.test(document.getElementById('how-many').textContent)")
    tab.wait("document.querySelectorAll('#chosen tbody tr').length === 50")
    said = tab.run("document.getElementById('how-many').textContent")
    count, of = map(int, re.findall(r"(\d+) of (\d+) trials", said)[0])
    assert 0 < count < of
    low, high = tab.run("document.querySelector('.plot').data[0].dimensions[1].constraintrange")
    rates = tab.run("[...document.querySelectorAll('#chosen tbody tr')].map((row) => Number(row.cells[6].textContent))")
    assert all(low - 0.001 < math.log10(rate) < high + 0.001 for rate in rates)


def test_memory_stays_where_it_is_while_pages_are_polled(large: Path):
    with Served(large) as served:
        paths = ["/part/studies", "/study/scale/part/state", "/study/scale/part/rows", "/study/scale/part/curves"]
        for _ in range(120):  # it grows for about a hundred rounds, then stays: seen over 650
            list(map(served.get, paths))
        before, files = served.memory, psutil.Process(served.process.pid).num_fds()
        for _ in range(200):
            list(map(served.get, paths))
        assert served.memory < 1.05 * before
        assert psutil.Process(served.process.pid).num_fds() <= files + 4
