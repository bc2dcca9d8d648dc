from __future__ import annotations

import io
import json
import math
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console
from terminal import Terminal

from hpo.cli.live import LiveProgress
from hpo.cli.sparkline import sparkline
from hpo.trial import Outcome

from .conftest import Hpo, environment
from .test_progress import Clock, best, job, progress

SEARCH = {"architecture": {"choices": ["unet", "attention_unet"]}, "x": {"low": 0.0, "high": 1.0}}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([], 8, ""),
        ([0.5], 8, "▄"),
        ([3, 3, 3], 8, "▄▄▄"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([7, 0], 8, "█▁"),
        (range(1000), 4, "▁▃▆█"),  # 249, 499, 749 and 999 of 249 to 999
        ([0, math.nan, 1, math.inf], 8, "▁ █ "),
        ([math.nan], 8, " "),
        ([-1.7e308, 1.7e308], 8, "▁█"),
        ([1, 2], 0, ""),
    ],
)
def test_a_curve_in_a_line(values, width, line):
    assert sparkline(values, width) == line
    plain = sparkline(values, width, ascii_only=True)
    assert plain.isascii()
    assert len(plain) == len(line)


def frame(live: LiveProgress, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    for line in live.display(width, height):
        console.print(line)
    return console.file.getvalue().splitlines()


def shown(make_spec, clock, **keys) -> LiveProgress:
    live = LiveProgress(make_spec(**({"budget": {"trials": 10}} | keys)), Console(file=io.StringIO()), clock=clock)
    live.study_started(progress(2, 1, 1, 1, **best(0.75, 1)))
    live.close()
    return live


@pytest.mark.parametrize("width", [40, 50, 60, 80, 160])
@pytest.mark.parametrize("height", [4, 8, 12, 20, 60])
@pytest.mark.parametrize("running", [1, 64])
def test_the_display_fits_the_terminal_and_keeps_its_numbers(make_spec, clock, width, height, running):
    live = shown(make_spec, clock, search_space=SEARCH, group_by="architecture")
    for number in range(5, 5 + running):
        params = {"learning_rate": 0.00123456, "architecture": "attention_unet", "x": 0.123456789, "名前": "値" * 30}
        live.trial_started(job(number, **params))
    for step in range(1, 40):
        live.reported(5, step, {"loss": 0.25, "score": step / 64})
    clock.now = 75.0
    lines = frame(live, width, height)
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    assert "toy  4/10 trials" in text
    assert "1 min 15 s" in text
    assert f"{running} running" in text
    assert "best score 0.75, trial 1" in text or height < 8
    if height >= 12:
        assert "budget left: " in text
        rows = {line.split()[0]: line.split() for line in lines if line.strip()}
        assert rows["5"][1:3] == ["39", "0.6094"]
        assert "1 min 15 s" in "\n".join(line for line in lines if line.split()[:1] == ["5"])
        assert ("▁" in text and "█" in text) or width < 50
    if height == 60:
        assert ("and " in text) == (running == 64)
        assert len([line for line in lines if re.match(r" *\d+ ", line)]) >= (1 if running == 1 else 40)


def test_a_display_of_64_workers_on_80_by_24(make_spec, clock):
    live = shown(make_spec, clock)
    for number in range(5, 69):
        live.trial_started(job(number, x=0.5))
    lines = frame(live, 80, 24)
    assert len(lines) == 23
    assert lines[-1].startswith("and 49 more")


def test_the_best_of_each_group_the_causes_and_the_budget_are_counted(make_spec, clock):
    live = shown(
        make_spec, clock, search_space=SEARCH, group_by="architecture", budget={"trials": 10, "gpu_hours": 2},
        engine={"name": "local", "workers": 2, "gpu": 0.5},
    )  # fmt: skip
    ends = [
        ({"architecture": "unet", "x": 0.25}, Outcome(5, "COMPLETE", {"score": 0.5}, seconds=3600)),
        ({"architecture": "unet", "x": 0.5}, Outcome(6, "COMPLETE", {"score": 0.25}, seconds=60)),
        ({"architecture": "attention_unet", "x": 0.75}, Outcome(7, "COMPLETE", {"score": 0.625}, seconds=60)),
        ({"x": 0.75}, Outcome(8, "PRUNED", cause="pruner", reason="below the median")),
        ({"x": 0.75}, Outcome(9, "PRUNED", cause="red_flag", reason="red flag 'ill' at epoch 2: x == 0", flag="ill")),
        ({"x": 0.75}, Outcome(10, "FAIL", cause="exception", reason="ValueError")),
        ({"x": 0.75}, Outcome(11, "PRUNED", cause="pruner", reason="below the median")),
    ]
    for params, outcome in ends:
        live.trial_started(job(outcome.number, **params))
        live.trial_finished(job(outcome.number, **params), outcome, progress(4, 2, 1, 1, **best(0.75, 1)))
    again = Outcome(12, "FAIL", cause="lost", reason="its worker died")
    live.trial_started(job(12, x=0.5))
    live.trial_finished(job(12, x=0.5), again, progress(4, 2, 1, 2, **best(0.75, 1)))
    lines = [line.strip() for line in frame(live, 100, 24)]
    assert "attention_unet  0.625  trial 7  x 0.75" in lines
    assert "unet              0.5  trial 5  x 0.25" in lines
    assert "ended by pruner 2, red flag: ill 1, exception 1" in lines
    # Half a GPU for an hour and two minutes.
    assert "budget left: 3 trials to start, 1.48 of 2 GPU h" in lines


def test_on_a_terminal_without_unicode_all_is_ascii(make_spec, clock):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    live = LiveProgress(make_spec(), Console(file=output, force_terminal=True, width=100, height=30), clock=clock)
    live.study_started(progress())
    live.trial_started(job(0, name="日本" * 60))
    for step in range(5):
        live.reported(0, step, {"score": float(step)})
    live.message("für 日本")
    live._live.refresh()
    live.close()
    output.flush()
    text = output.buffer.getvalue().decode("ascii")
    assert ".-+#@" in text
    assert "f?r ??" in text


def test_a_metric_that_comes_later_has_a_curve_of_its_own(make_spec, clock):
    live = shown(make_spec, clock)
    live.trial_started(job(5))
    for step in range(4):
        live.reported(5, step, {"loss": 4.0 - step})
    assert live._curves[5] == [4, 3, 2, 1]
    live.reported(5, 4, {"loss": 0.0})
    live.reported(5, 4, {"score": 0.5})  # in pieces
    live.reported(5, 5, {"score": 0.25, "loss": 0})
    live.reported(5, 5, {"score": 0.125})  # a second report of a step
    assert live._curves[5] == [0.5, 0.25]


def test_in_a_confirmation_the_luckiest_training_is_not_named(make_spec):
    sampler = {"name": "racing", "study": "toy", "key": "k", "trials": [7, 3], "seeds": 5}
    enqueue = [{"x": 0.2}, {"x": 0.5}]
    spec = make_spec(sampler=sampler, enqueue=enqueue, pruner="none", budget={"trials": 20})
    live = LiveProgress(spec, Console(file=io.StringIO()))
    live._progress = progress(1, **best(1.0, 0))
    lines = frame(live, 80, 24)
    assert "trains trials 3, 7 of toy again" in lines
    assert not any("best" in line for line in lines)


def test_failures_stay_above_the_display_and_the_end_is_told(make_spec, clock):
    output = io.StringIO()
    live = LiveProgress(make_spec(budget={"trials": 10}), Console(file=output, width=200), clock=clock)
    live.study_started(progress())
    live.trial_started(job(0))
    live.trial_started(job(1, x=0.5))
    clock.now = 60.0
    failed = Outcome(0, "FAIL", cause="exception", reason="ValueError: [red]", error="Traceback")
    live.trial_finished(job(0), failed, progress(failed=1))
    live.trial_finished(job(1, x=0.5), Outcome(1, "COMPLETE", {"score": 0.5}), progress(1, 0, 1, **best(0.5, 1)))
    live.message("[bold] is text")
    live.close()
    shown = output.getvalue()
    assert "trial 0 FAIL ValueError: [red] (runs/toy/trials/0/error.txt)" in shown
    assert "trial 1" not in shown.split("best")[0]
    assert "[bold] is text" in shown
    lines = "\n".join(frame(live, 160, 20))
    assert "best score 0.5, trial 1: x 0.5" in lines
    assert re.search(r"1 min 00 s, about [3-6] min left, until \d\d:\d\d \(\d\d:\d\d to \d\d:\d\d\)", lines)


def gated(study_yaml, tmp_path: Path, **keys) -> tuple[list[str], Path]:
    """The command of a study whose trials wait at their last step until a file of their number lies in a folder."""
    gates = tmp_path / "gates"
    gates.mkdir()
    path = study_yaml("slow", constants={"gates": str(gates)}, name="lively", **keys)
    return [sys.executable, "-P", "-m", "hpo", "run", str(path)], gates


def open_gates(gates: Path, trials: int = 100) -> None:
    for number in range(trials):
        (gates / str(number)).touch()


def _is_whole(screen: list[str], width: int) -> bool:
    once = sum("lively  0/4" in line for line in screen) == 1
    return once and any("running" in line for line in screen) and all(len(line) <= width for line in screen)


@pytest.mark.parametrize(("columns", "lines"), [(120, 30), pytest.param(50, 14, marks=pytest.mark.slow)])
def test_on_a_terminal_the_display_is_live_and_follows_its_size(study_yaml, tmp_path, columns, lines):
    command, gates = gated(study_yaml, tmp_path, search_space=SEARCH, group_by="architecture", engine={"workers": 2})
    terminal = Terminal(command, environment(), columns, lines)
    screen = terminal.shows(lambda now: sum("▁" in line and "█" in line for line in now) == 2)
    assert any(re.match(r"lively  0/4 trials", line) for line in screen)
    assert any(re.search(r"2 running$", line) for line in screen)
    assert any(re.match(r" *trial +epoch +score +curve +time", line) for line in screen)
    assert any("budget left: 2 trials to start" in line for line in screen)
    for size in ((60, 20), (40, 9), (100, 30)):
        terminal.resize(*size)
        head = terminal.shows(lambda now, width=size[0]: _is_whole(now, width))
        assert len(head) <= size[1]
    open_gates(gates)
    assert terminal.ends() == 0
    end = "\n".join(terminal.screens[-1])
    assert "lively  " not in end.split("trials finished")[-1], "the display is gone"
    text = terminal.output.decode()
    assert "4 of 4 trials finished: 4 complete" in text
    assert re.search(r"architecture +score +trial +x\r", text)
    assert "\x1b[?25h" in text, "the cursor is shown again"


@pytest.mark.slow
def test_a_study_that_goes_on_shows_what_earlier_runs_found(study_yaml, tmp_path, hpo: Hpo):
    command, gates = gated(study_yaml, tmp_path, search_space=SEARCH, group_by="architecture", sampler="qmc")
    open_gates(gates, 4)
    assert hpo("run", command[-1], "-q").code == 0
    rows = json.loads(hpo("trials", "lively", "--json").out)
    terminal = Terminal([*command, "--trials", "5"], environment(NO_COLOR="1"), 100, 24)
    screen = terminal.shows(lambda now: any("1 running" in line for line in now))
    for group in ("unet", "attention_unet"):
        found = next(row for row in rows if row["params_architecture"] == group)
        assert any(re.match(rf"  {group} +\S+ +trial {found['trial']} ", line) for line in screen), screen
    open_gates(gates)
    assert terminal.ends() == 0


@pytest.mark.slow
def test_no_color_is_respected(study_yaml, tmp_path):
    command, gates = gated(study_yaml, tmp_path)
    open_gates(gates)
    path = Path(command[-1])
    for name, coloured in (("plain", False), ("coloured", True)):
        variables = environment() | ({} if coloured else {"NO_COLOR": "1"})
        terminal = Terminal(["env", *(f"{key}=1" for key in variables if key == "NO_COLOR"), *command,
                             "--new-name", name], variables, 100, 24)  # fmt: skip
        assert terminal.ends() == 0
        assert bool(re.search(rb"\x1b\[[0-9;]*3[1-7]m", terminal.output)) == coloured, path


def test_quiet_says_how_it_ended_and_the_log_file_says_all(hpo: Hpo, study_yaml, tmp_path):
    log = tmp_path / "a folder" / "mine.log"
    said = hpo("run", study_yaml(), "--quiet", "--log-file", log)
    assert said.code == 2
    assert said.err.startswith(f"hpo: --log-file {log} cannot be written: ")
    assert not (tmp_path / "runs").exists()
    log.parent.mkdir()
    said = hpo("run", study_yaml("raising", enqueue=[{"x": 0.9}]), "--quiet", "--log-file", log)
    assert said.code == 0
    assert said.out.startswith("4 of 4 trials finished: ")
    assert "trial 0 FAIL" not in said.out + said.err
    assert "best       score " in said.out
    assert "found      " in said.out
    hpo("run", study_yaml("raising"), "--trials", 5, "-q", "--log-file", log)
    lines = log.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    assert sum(" --- " in line for line in lines) == 2
    assert any("[1/4] trial 0 FAIL ValueError: the labels are all zero" in line for line in lines)
    assert any("[5/5] trial 4 " in line for line in lines)
    assert "5 of 5 trials finished" in lines[-1]
    assert lines[-1].endswith("(exit code 0)")
    for odd, why in ((tmp_path, "directory"), ("/dev/null", "null")):
        assert why in hpo("run", study_yaml(), "--log-file", odd).err


def test_other_commands_that_train_take_the_same_options(hpo: Hpo, finished, tmp_path):
    for command in (("confirm", "--top", 1, "--seeds", 2), ("reproduce", "toy", 0), ("continue", "toy", 0)):
        log = tmp_path / f"{command[0]}.log"
        said = hpo(*command, "--quiet", "--log-file", log)
        assert "Traceback" not in said.err
        if command[0] == "continue":
            assert "--epochs" in said.err
            continue
        assert "trial 0 COMPLETE" not in said.err + said.out
        lines = log.read_text().splitlines()
        assert any("trial 0 COMPLETE score" in line for line in lines)
        assert f"hpo {command[0]} " in lines[0]
        assert "(exit code 0)" in lines[-1]
    loud = hpo("reproduce", "toy", 1)
    assert "[1/1] trial 0 COMPLETE score" in loud.err
    assert loud.out.startswith("trial 1 of study 'toy': equal bit for bit")


def test_a_drawing_costs_the_same_after_many_trials_and_reports(make_spec, clock):
    """What is drawn is counted beforehand: neither a trial that has ended nor an old report is looked at again."""
    live = shown(make_spec, clock, search_space=SEARCH, group_by="architecture", budget={"trials": 10**6})
    live.trial_started(job(5, architecture="unet"))

    class Watched(list):
        looked_at = 0

        def __getitem__(self, place):
            Watched.looked_at += 1
            return super().__getitem__(place)

    live._curves = {5: Watched(range(100_000))}
    frame(live, 120, 40)
    assert 0 < Watched.looked_at <= 16
