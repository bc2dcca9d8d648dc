"""The pages of `hpo ui`, asked for as a browser does, and as no browser would."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from servers import free_port
from waiting import wait_until

import hpo
from hpo import layout
from hpo.cli.main import main
from hpo.storage.driver_lock import driver_lock

from .serving import REPOSITORY, Served

HOSTILE = "<img src=x onerror=alert(1)>"
OBJECTIVE = f'''
def train(trial):
    print("{HOSTILE} said \\x1b[31mred\\x1b[0m")
    if trial.number == 2:
        raise ValueError("{HOSTILE}")
    for epoch in range(1, 4):
        trial.report(epoch, score=trial.params["x"] * epoch, train_loss=1 / epoch, val_loss=1.1 / epoch)
    return {{"score": trial.params["x"]}}
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with a study of texts that a browser could take for more, and with studies that are damaged."""
    base = tmp_path_factory.mktemp("ui")
    (base / "objective.py").write_text(OBJECTIVE)
    keys = {
        "name": "toy",
        "objective": "objective.py:train",
        "metrics": [{"name": "score", "direction": "maximize"}],
        "group_by": "kind",
        "search_space": {"x": {"low": 0.0, "high": 1.0}, "kind": {"choices": [HOSTILE, "plain"]}},
        "sampler": {"name": "random"},
        "budget": {"trials": 4},
        "engine": {"name": "local", "workers": 1},
        "mlflow": False,
        "seed": 1,
    }
    (base / "study.yaml").write_text(yaml.safe_dump(keys, sort_keys=False))
    runs = base / "runs"
    hpo.run(base / "study.yaml", runs)
    for name in ("broken", "gone", "lost"):
        shutil.copytree(runs / "toy", runs / name)
    (runs / "broken" / layout.SPEC).write_text("name: [")
    (runs / "gone" / layout.SPEC).unlink()
    text = (runs / "lost" / layout.SPEC).read_text().replace("name: toy", "name: lost", 1)
    (runs / "lost" / layout.SPEC).write_text(text)
    return runs


@pytest.fixture(scope="module")
def ui(folder: Path) -> Iterator[Served]:
    with Served(folder) as served:
        wait_until(lambda: "being read" not in served.get("/part/studies"))
        yield served


def test_all_studies_are_listed_and_a_damaged_one_hides_no_other(ui: Served):
    rows = ui.get("/part/studies").split("<tr>")
    (toy,) = [row for row in rows if ">toy<" in row]
    assert "finished" in toy
    assert "4 of 4 trials: 3 complete, 0 pruned, 1 failed" in toy
    for name, why in (
        ("broken", "study.yaml"),
        ("gone", "its study.yaml is gone"),
        ("lost", "no longer in its storage"),
    ):
        (row,) = [row for row in rows if f"{name}<" in row]
        assert "cannot be read" in row
        assert why in row
    assert "Traceback" not in "".join(rows)


def test_a_damaged_study_has_a_page_that_says_so(ui: Served):
    assert "broken" in ui.get("/study/broken")
    assert "cannot be shown" in ui.get("/study/broken/part/state")
    assert "no longer in its storage" in ui.get("/study/lost/part/table")


def test_a_part_that_has_not_changed_is_not_sent_again(ui: Served):
    for path in ("/part/studies", "/study/toy/part/state", "/study/toy/part/curves", "/study/toy/part/heatmaps"):
        text = ui.get(path)
        (again,) = set(re.findall(rf'hx-get="({re.escape(path)}\?seen=\w+)"', text))
        assert ui.ask(again)[0] == 204
        assert ui.ask(f"{again}x")[0] == 200


def test_texts_of_a_study_are_shown_and_never_read_as_html(ui: Served):
    pages = ["/study/toy/part/state", "/study/toy/part/table", "/study/toy/part/heatmaps", "/study/toy/part/curves"]
    pages += ["/study/toy/part/parallel", *(f"/study/toy/trials/{number}/part" for number in range(4))]
    pages += [f"/study/toy/trials/1?with={urllib.parse.quote(HOSTILE)}", f"/study/{urllib.parse.quote(HOSTILE)}"]
    for path in pages:
        text = ui.ask(path)[1]
        assert "<img" not in text, path
    shown = ui.get("/study/toy/trials/2/part")
    assert "&lt;img src=x onerror=alert(1)&gt; said \\x1b[31mred" in shown
    assert "ValueError" in shown


def test_a_trial_has_its_verdict_its_parameters_and_its_output(ui: Served):
    text = ui.get("/study/toy/trials/0/part")
    for expected in ("COMPLETE", "Verdict", "output.log", '<th scope="row">x</th>'):
        assert expected in text
    both = ui.get("/study/toy/trials/0/part?with=1")
    assert "Curves beside each other" in both
    assert 'class="differ"' in both
    assert "There is no other trial 17" in ui.get("/study/toy/trials/0/part?with=17")
    assert "has no trial 17; its trials are 0 to 3" in ui.get("/study/toy/trials/17/part")


def test_figures_are_json_that_a_script_element_cannot_end(ui: Served):
    for part in ("curves", "history", "heatmaps", "parallel"):
        text = ui.get(f"/study/toy/part/{part}")
        (figures,) = re.findall(r'(?s)<script type="application/json" class="figures">(.*?)</script>', text)
        assert all({"data", "layout"} <= set(figure) for figure in json.loads(figures))
    (lines,) = json.loads(figures)
    assert sorted(lines["layout"]["meta"]["trials"]) == [0, 1, 3]


def test_there_is_one_heatmap_a_group(ui: Served):
    assert ui.get("/study/toy/part/heatmaps").count('aria-label="kind: ') == 2


def test_the_report_is_served_without_access_to_the_other_pages(ui: Served, folder: Path):
    status, text, headers = ui.ask("/study/toy/report")
    assert status == 200
    assert text == (folder / "toy" / "report.html").read_text()
    policy = headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts ")
    assert "allow-same-origin" not in policy
    assert ui.ask("/study/toy/report.html")[0] == 200
    assert "ValueError" in ui.get("/study/toy/trials/2/error.txt")
    assert ui.ask("/study/toy/trials/2/error.txt")[2]["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "path",
    [
        "/study/../toy",
        "/study/..%2f..%2fetc/report",
        "/study/%2e%2e/report",
        "/study/toy/..%2fstudy.yaml",
        "/study/toy/study.yaml",
        "/study/toy/driver.lock",
        "/study/toy/trials/0/..%2f..%2fstudy.yaml",
        "/study/toy/trials/0/checkpoint.pkl",
        "/study/toy/trials/..%2f/output.log",
        "/study/toy%00/report",
        "/study/.trash",
        "/study//report",
        "/static/x/..%2fapp.py",
        "/static/x/app.py",
        "/nothing",
        "/study/tyo",
    ],
)
def test_nothing_else_of_the_disk_is_served(ui: Served, path: str):
    status, text, _ = ui.ask(path)
    assert status == 404
    assert "Traceback" not in text


def test_a_name_that_is_nearly_right_is_suggested(ui: Served):
    assert "Did you mean &#39;toy&#39;?" in ui.ask("/study/tpy")[1]


def test_a_file_that_is_none_is_not_read(ui: Served, folder: Path):
    path = folder / "toy" / "trials" / "3" / layout.CRASH
    os.mkfifo(path)
    try:
        assert "a named pipe" in ui.get("/study/toy/trials/3/part")
        assert ui.ask(f"/study/toy/trials/3/{layout.CRASH}")[0] == 404
    finally:
        path.unlink()


def test_nobody_else_reads_or_changes_anything(ui: Served):
    stranger = ui.stranger()
    for path in ("/", "/study/toy/part/state", "/static/x/htmx.js", "/?token=x", "/study/toy/report"):
        status, text, _ = stranger.ask(path)
        assert status == 403
        assert "`hpo ui` prints it where it was started" in text
    assert stranger.ask("/study/toy/do/pause", "POST", HX_Request="true")[0] == 403
    for host in ("evil.example", f"evil.example:{ui.port}", "127.0.0.1", f"127.0.0.1.evil.example:{ui.port}"):
        assert ui.ask("/", Host=host)[:2] == (403, f"This server is not called '{host}'. Expected {ui.root}\n")
    own = {"HX_Request": "true", "Origin": ui.root}
    for headers in (
        {**own, "Origin": "http://evil.example"},
        {**own, "Origin": "null"},
        {**own, "Origin": "http://127.0.0.1:1"},
        {**own, "Sec_Fetch_Site": "cross-site"},
        {**own, "Sec_Fetch_Site": "same-site"},
        {**own, "Sec_Fetch_Site": "none"},
        {"Origin": ui.root},
    ):
        status, text, _ = ui.ask("/study/toy/do/pause", "POST", **headers)
        assert status == 403, headers
    assert not (Path(ui.get("/").partition("<p>")[2].partition("</p>")[0]) / "toy" / layout.STEERING).exists()
    assert ui.ask("/study/toy/do/pause")[0] == 405, "a link changes nothing"


def test_pages_say_what_a_browser_may_do_with_them(ui: Served):
    for path in ("/", "/study/toy", "/study/toy/trials/0/part", "/study/toy/report", "/nothing"):
        headers = {name.lower(): value for name, value in ui.ask(path)[2].items()}
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        if "sandbox" not in headers["content-security-policy"]:
            assert "'unsafe-inline'" not in headers["content-security-policy"].split("style-src")[0]
            assert "unsafe-eval" not in headers["content-security-policy"]
    assert "'unsafe-eval'" in ui.ask("/study/toy/parallel")[2]["content-security-policy"]


def test_scripts_are_kept_by_the_browser(ui: Served):
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', ui.get("/study/toy")):
        status, _, headers = ui.ask(path)
        assert status == 200
        assert "immutable" in headers["cache-control"]


def test_a_link_from_elsewhere_leads_to_the_page_all_the_same(ui: Served):
    stranger = ui.stranger()
    arriving = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    status, text, _ = stranger.ask('/study/toy/trials/2/error.txt?a="><b>', **arriving)
    assert status == 200
    (again,) = re.findall('content="0;url=([^"]*)"', text)
    assert again.startswith("/study/toy/trials/2/error.txt?a=")
    assert again.endswith("&amp;arrived=")
    assert "<b>" not in text
    assert stranger.ask("/study/toy?arrived=", **arriving)[0] == 403, "not again and again"
    assert stranger.ask("/", Host="evil.example", **arriving)[0] == 403


def test_buttons_without_a_driver_are_noted_for_the_next_one(ui: Served, folder: Path):
    assert "Study &#39;toy&#39; is paused; no driver is at work on it" in ui.press("/study/toy/do/pause")
    assert "Resume" in ui.get("/study/toy/part/state")
    assert json.loads((folder / "toy" / layout.STEERING).read_text())["paused"]
    said = ui.press("/study/toy/do/resume")
    assert "is no longer paused" in said
    assert "continues it" in said
    assert "4 trials (was 4)" not in said
    assert "is now 6 trials (was 4)" in ui.press("/study/toy/do/extend", "trials=%2B2&hours=")
    wait_until(lambda: "4 of 6 trials" in ui.get("/study/toy/part/state"))
    for body, why in (
        ("", "Nothing was named"),
        ("trials=many", "expected +N"),
        ("hours=5", "no limit of hours"),
        (f"trials={HOSTILE}", "expected +N"),
        ("x" * 50_000, "Nothing was named"),
    ):
        said = ui.press("/study/toy/do/extend", body)
        assert why in said
        assert "refused" in said
    for action in ("stop", "kill"):
        said = ui.press(f"/study/toy/do/{action}", "trial=1")
        assert "No driver is at work on study &#39;toy&#39;" in said
    assert "is no trial" in ui.press("/study/toy/do/kill", "trial=one")
    for path in ("/study/nothing/do/pause", "/study/toy/do/delete", "/study/toy/server/bash"):
        assert ui.ask(path, "POST", HX_Request="true")[0] == 404


def test_a_study_that_is_driven_says_by_whom(ui: Served, folder: Path):
    with driver_lock(folder / "toy"):
        wait_until(lambda: "Driven by process" in ui.get("/study/toy/part/state"))
        assert "Stop now" in ui.get("/study/toy/part/state")
    wait_until(lambda: "No driver is at work on it" in ui.get("/study/toy/part/state"))


@pytest.mark.slow
def test_optuna_dashboard_starts_on_the_study_and_ends_with_the_pages(folder: Path):
    with Served(folder) as served:
        assert "is starting" in served.press("/study/toy/server/dashboard")
        wait_until(lambda: "Open optuna-dashboard" in served.get("/study/toy/server/dashboard"))
        (link,) = re.findall(r'href="(http://127\.0\.0\.1:\d+/dashboard/studies/\d+\?token=[\w-]+)"',
                             served.get("/study/toy/server/dashboard"))  # fmt: skip
        assert link in served.press("/study/toy/server/dashboard"), "one is enough"
        (child,) = psutil.Process(served.process.pid).children()
        assert served.end() == (0, "")
        assert not child.is_running()


def test_a_server_that_cannot_start_says_why(ui: Served):
    ui.press("/study/toy/server/mlflow")
    wait_until(lambda: "was not tracked in MLflow" in ui.get("/study/toy/server/mlflow"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told_to(tmp_path: Path, how: signal.Signals):
    served = Served(tmp_path / "no runs yet")
    assert "There is no study in" in served.get("/part/studies")
    assert served.end(how) == (0 if how == signal.SIGINT else 143, "")


def test_it_listens_where_others_reach_it_only_if_that_is_said(capsys: pytest.CaptureFixture[str]):
    assert main(["ui", "--host", "0.0.0.0", "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert "--allow-remote" in said
    assert "ssh -L" in said


def test_a_taken_port_is_a_sentence(ui: Served, capsys: pytest.CaptureFixture[str]):
    assert main(["ui", "--port", str(ui.port)]) == 1
    said = capsys.readouterr().err
    assert f"hpo ui cannot listen on 127.0.0.1, port {ui.port}" in said
    assert f"Try --port {ui.port + 1}" in said


@pytest.mark.slow
def test_remote_access_is_answered_under_the_names_of_this_machine(tmp_path: Path):
    with Served(tmp_path, "--host", "0.0.0.0", "--allow-remote", "--port", str(free_port())) as served:
        assert served.ask("/", Host=f"localhost:{served.port}")[0] == 200
        assert served.ask("/", Host=f"0.0.0.0:{served.port}")[0] == 403


def test_what_is_large_is_not_imported():
    heavy = "('torch', 'ray', 'mlflow', 'pandas', 'sklearn', 'scipy', 'statsmodels')"
    code = f"import hpo.ui.server; print([name for name in {heavy} if name in sys.modules])"
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); {code}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
