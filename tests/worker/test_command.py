"""A program as an objective: what it prints and sends, well or badly, and what is left of it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import psutil
import pytest
from books import finish, processes_of, start
from waiting import PATIENCE, leftover, wait_until

from hpo import layout
from hpo.runner import run
from hpo.storage import history
from hpo.storage.load_study import load_study
from hpo.worker import report_socket
from hpo.worker.no_metric import why_no_metric
from hpo.worker.printed_rows import MOST_BYTES

NOTE = "hpo passes over "
LONG = "a" * 100 + "/" + "b" * 100


@pytest.fixture
def trained(make_spec, runs, tmp_path):
    """Run a program once, with the metric val_loss; returns the trial, its steps and its output."""

    def train(program: str, **keys):
        (tmp_path / "train.py").write_text(textwrap.dedent(program))
        metrics = keys.pop("metrics", [{"name": "val_loss", "direction": "minimize"}])
        run(make_spec(command=["python", "train.py", "{x}"], metrics=metrics, budget={"trials": 1}, **keys), runs)
        (trial,) = load_study(runs, "toy")[1].trials
        folder = layout.trial_directory(runs / "toy", 0)
        steps = [(step.step, dict(step.metrics)) for step in history.read(folder / layout.HISTORY)]
        return trial, steps, (folder / layout.OUTPUT).read_text(errors="replace")

    return train


# --- JSON lines


def test_events_nulls_and_other_numbers_are_no_fault(trained):
    trial, steps, output = trained(
        r"""
        print('{"n_params": 1200000}')
        print('{"step": 0, "event": "start", "level": "info"}', flush=True)
        print('{"step": 1, "val_loss": 0.5, "grad_norm": null, "phase": "val"}')
        print('  5%|#   | 1/20\r 10%|##  | 2/20\r{"epoch": 2.0, "val": {"loss": 0.4}, "val_loss": 0.4, "ok": true}')
        print('{"step": 0.5, "event": "half"}\n{"step": -1, "val_loss": 9}\n{"step": 1e300, "val_loss": 9}')
        print("{'step': 3, 'val_loss': 9}\n{\"step\": 3, \"val_loss\": 9,}")
        print('{"step": 1, "event": "stop"}')
        print('{"seconds": 12.5}')
        """
    )
    assert (trial.state.name, trial.value) == ("COMPLETE", 0.4)
    assert steps[0][0] == 1
    assert str(steps[0][1]) == "{'val_loss': 0.5, 'grad_norm': nan}"
    assert steps[1:] == [(2, {"val.loss": 0.4, "val_loss": 0.4})]
    notes = [line.removeprefix(NOTE) for line in output.splitlines() if line.startswith(NOTE)]
    expected = [
        'a JSON line without a step that lacks a metric of the study (val_loss) in `{"n_params": 1200000}`',
        'a JSON line with a step and no number in `{"step": 0, "event": "start", "level": "info"}`',
        """values that are no numbers (phase) in `{"step": 1, "val_loss": 0.5, "grad_norm": null, "phase": "val"}`""",
        'a step that is no whole number from 0 to 9007199254740992 (step 0.5) in `{"step": 0.5, "event": "half"}`',
        "a line that is not JSON (its names stand in single quotes, as Python prints a dict) in "
        "`{'step': 3, 'val_loss': 9}`",
    ]
    assert notes == [f"{note}; this is said once" for note in expected]


FINAL = {
    "a line at the end": ('{"step": 1, "val_loss": 3}\n{"val_loss": 1}', 1),
    "the last of two": ('{"step": 1, "val_loss": 3}\n{"val_loss": 1}\n{"val_loss": 2}', 2),
    "before training": ('{"val_loss": 9}\n{"step": 1, "val_loss": 3}\n{"step": 2, "val_loss": 2}', 2),
    "an earlier step": ('{"step": 1, "val_loss": 3}\n{"step": 2, "train_loss": 2}', 3),
    "other numbers last": ('{"step": 1, "val_loss": 3}\n{"test_loss": 1}', 3),
    "another rank later": ('{"step": 1, "val_loss": 3}\n{"val_loss": 1}\n{"step": 1, "val_loss": 4}', 1),
    "no steps at all": ('{"val_loss": 1}', 1),
}


@pytest.mark.parametrize("case", FINAL)
def test_what_is_final(trained, case):
    printed, value = FINAL[case]
    trial, _, _ = trained(f"print('''{printed}''')", engine={"name": "inline"})
    assert trial.value == value


def test_a_final_line_holds_all_metrics_of_the_study(trained):
    metrics = [{"name": "val_loss", "direction": "minimize"}, {"name": "size", "direction": "minimize"}]
    program = """print('{"step": 1, "val_loss": 3, "size": 2}\\n{"val_loss": 1}')"""
    trial, _, _ = trained(program, metrics=metrics, engine={"name": "inline"})
    assert trial.values == [3, 2]


@pytest.mark.parametrize("value", ["null", "NaN", "1e400"])
def test_a_final_metric_that_is_not_finite_says_so(trained, value):
    trial, _, _ = trained(f"""print('{{"step": 1, "val_loss": {value}}}')""", engine={"name": "inline"}, red_flags=[])
    outcome = trial.user_attrs["hpo:outcome"]
    assert (trial.state.name, outcome["cause"]) == ("FAIL", "invalid")
    assert "expected a finite number" in outcome["reason"]


def test_bytes_of_every_kind(trained):
    trial, steps, output = trained(
        r"""
        import sys
        out = sys.stdout.buffer
        out.write(b"\xff\xfe\x00" * 1000 + b"\n")
        out.write(b"x" * (60 * 2**20))  # no line end
        out.write(b"\n" + b'{"a":' * 100_000 + b"\n")
        out.write(b'{"step": 1, ' + b", ".join(b'"k%d": 1' % k for k in range(200_000)) + b"}\n")
        out.write(b'{"step": 2, "val_loss": 0.5, "\\ud800": 1}\n')
        out.write(b'{"step": 3, "val_loss": 0.25, "big": %s}' % (b"9" * 6000))  # no line end either
        """
    )
    assert (trial.state.name, trial.value) == ("COMPLETE", 0.25)
    assert [step for step, _ in steps] == [2, 3]
    assert steps[1][1]["big"] == float("inf")
    assert output.count(f"{NOTE}a line of more than {MOST_BYTES} bytes") == 1


# --- over the socket


CLIENT = r"""
import json, os, sys
from hpo.worker.report_socket import connect
peer = connect(os.environ["HPO_SOCKET"]).makefile("rwb")
def ask(line):
    peer.write(line + b"\n")
    peer.flush()
    return json.loads(peer.readline())
"""


def test_a_malformed_report_over_the_socket_is_refused_with_a_sentence(trained):
    trial, steps, output = trained(
        CLIENT
        + r"""
for line in (b"hello", b"[1]", b"\xff\x00", b'{"step": -1, "a": 1}', b'{"step": 1.5, "a": 1}', b'{"a": 1}',
             b'{"step": 1}', b'{"step": 1, "a": "b"}', b'{"step": 99999999999999999999, "a": 1}', b'{"a":' * 100000,
             b"x" * 2**22):
    print(ask(line)["refused"])
assert ask(b'{"step": 1.0, "val": {"loss": 2}, "val_loss": 0.5, "phase": "val"}') is None
"""
    )
    assert trial.value == 0.5
    assert steps == [(1, {"val.loss": 2.0, "val_loss": 0.5})]
    refused = output.splitlines()
    assert len(refused) == 11
    assert all(line.startswith("the report is refused: ") for line in refused)


def test_hpo_report_says_why_it_is_refused(trained):
    trial, _, output = trained(
        """
        import hpo
        from hpo.worker.current_trial import current_trial
        try:
            current_trial()._send(2**60, {"val_loss": 1.0})
        except TypeError as error:
            print(error)
        hpo.report(1, val_loss=0.5)
        """
    )
    assert trial.value == 0.5
    assert (
        output == "the report is refused: step 1.152921504606847e+18 is not a whole number from 0 to 9007199254740992\n"
    )


def test_ranks_and_threads_report_at_once(trained, runs):
    trial, _, _ = trained(
        """
        import os, threading
        import hpo

        def report(rank):
            for step in range(1, 26):
                hpo.report(step, **{f"loss_{rank}": step, "val_loss": 1 / step})

        hpo.report(0, val_loss=1.0)  # the forked ranks have this connection, too
        children = []
        for rank in range(3):
            if (child := os.fork()) == 0:
                report(f"forked_{rank}")
                os._exit(0)
            children.append(child)
        threads = [threading.Thread(target=report, args=(f"thread_{rank}",)) for rank in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for child in children:
            os.waitpid(child, 0)
        """
    )
    assert (trial.state.name, trial.value) == ("COMPLETE", 1 / 25)
    rows = history.rows(layout.trial_directory(runs / "toy", 0) / layout.HISTORY)
    names = {name for row in rows for name in row.metrics if name != "val_loss"}
    assert len(names) == 6
    for name in names:
        assert [row.step for row in rows if name in row.metrics] == list(range(1, 26))


@pytest.mark.slow
def test_a_peer_that_reads_no_answers_holds_up_nobody(trained):
    trial, _, _ = trained(
        CLIENT
        + r"""
import socket, hpo
deaf = connect(os.environ["HPO_SOCKET"])
deaf.setblocking(False)
try:
    while True:
        deaf.send(b'{"step": 1, "other": 1}\n' * 1000)
except (BlockingIOError, BrokenPipeError, ConnectionResetError):
    pass
hpo.report(2, val_loss=0.5)
""",
        engine={"name": "inline"},
    )
    assert trial.value == 0.5


# --- the socket itself


@pytest.mark.parametrize("abstract", [True, False])
def test_the_socket_has_a_short_name_wherever_temporary_files_are(monkeypatch, tmp_path, abstract):
    if abstract and sys.platform != "linux":
        pytest.skip("only Linux has sockets without a file")
    folder = tmp_path / LONG
    folder.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr(report_socket, "_ABSTRACT", abstract)
    with report_socket.listening() as (listener, address):
        with report_socket.connect(address) as client:
            (peer,) = report_socket.accepted(listener)
            client.sendall(b"hello")
            wait_until(lambda: peer.recv(5, socket.MSG_PEEK) == b"hello")
            peer.close()
        assert not os.listdir(folder)
    with pytest.raises(OSError, match=r"refused|No such file"):
        report_socket.connect(address)


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="only root can be another user")
def test_another_user_of_the_machine_is_not_served():
    stranger = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(chr(0) + sys.argv[1]);"
    )
    with report_socket.listening() as (listener, address):
        command = [sys.executable, "-c", f"{stranger} print(s.recv(1))", address.removeprefix("@")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert list(report_socket.accepted(listener)) == []
            assert process.communicate()[0] == b"b''\n"


# --- temporary folders


@pytest.fixture(params=["long", "missing", "a file"])
def temporary(request, tmp_path):
    """A $TMPDIR that does no harm."""
    folder = tmp_path / LONG
    if request.param == "long":
        folder.mkdir(parents=True)
    elif request.param == "a file":
        folder = tmp_path / "file"
        folder.touch()
    return folder


REPORTS = [sys.executable, "-c", "import hpo; hpo.report(1, score=hpo.current_trial().params['x'])"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_tmpdir_does_no_harm_and_nothing_is_left_in_it(study_yaml, runs, temporary, engine):
    path = study_yaml(command=REPORTS, engine={"name": engine, "workers": 1}, budget={"trials": 2})
    finish(path, runs, {"TMPDIR": str(temporary)})
    assert {trial.state.name for trial in load_study(runs, "toy")[1].trials} == {"COMPLETE"}
    assert not temporary.is_dir() or not os.listdir(temporary)


LOADS = """
import multiprocessing
import torch
from torch.utils.data import DataLoader, TensorDataset

def train(trial):
    batches = DataLoader(TensorDataset(torch.arange(20.0)), batch_size=4, num_workers=2)
    with multiprocessing.Manager() as manager:
        sums = manager.list([float(batch.sum()) for (batch,) in batches])
        return {"score": sum(sums)}
"""


@pytest.mark.slow
def test_an_objective_has_processes_of_its_own_below_a_long_tmpdir(study_yaml, runs, tmp_path):
    folder = tmp_path / LONG
    folder.mkdir(parents=True)
    (tmp_path / "loads.py").write_text(LOADS)
    path = study_yaml(budget={"trials": 2})
    path.write_text(re.sub("objective: .*", "objective: loads.py:train", path.read_text()))
    finish(path, runs, {"TMPDIR": str(folder)})
    assert [trial.value for trial in load_study(runs, "toy")[1].trials] == [190.0, 190.0]
    assert not os.listdir(folder)


def test_nothing_is_left_of_a_killed_command(study_yaml, runs, tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    program = [sys.executable, "-c", "import time, hpo; hpo.report(0, score=0.0); time.sleep(600)"]
    path = study_yaml(command=program, budget={"trials": 1})
    driver = start(path, runs, {"TMPDIR": str(temporary)})
    try:
        wait_until(lambda: history.read(layout.trial_directory(runs / "toy", 0) / layout.HISTORY))
        family = psutil.Process(driver.pid).children(recursive=True)
    finally:
        driver.kill()
        driver.communicate(timeout=PATIENCE)
    assert not leftover(family)
    assert not os.listdir(temporary)


@pytest.mark.slow
def test_what_a_killed_driver_leaves_of_ray_is_removed_by_the_next(study_yaml, runs, tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    path = study_yaml("slow", engine={"name": "ray", "workers": 1}, budget={"trials": 1}, constants={"seconds": 0.3})
    # Sockets need a short path, or Ray's folder would be in /tmp.
    short = Path(tempfile.mkdtemp(prefix="h", dir="/tmp"))
    short.rmdir()
    short.symlink_to(temporary)
    driver = start(path, runs, {"TMPDIR": str(short)})
    try:
        wait_until(lambda: history.read(layout.trial_directory(runs / "toy", 0) / layout.HISTORY))
        driver.kill()
        driver.communicate(timeout=PATIENCE)
        assert not leftover(processes_of(runs))
        left = set(os.listdir(temporary))
        finish(path, runs, {"TMPDIR": str(short)})
        assert left
        assert not os.listdir(temporary)
    finally:
        driver.kill()
        short.unlink()


# --- a program that reports nothing

EXAMPLE = 'expected {"step": 1, "val_loss": 0.9} on stdout'
NOTHING = {
    "nothing at all": ("", f"; {EXAMPLE}. It printed nothing at all"),
    "text": (
        "a\nb\nepoch 1\r 50%|#\n\nval_loss: 0.4\n",
        f"; {EXAMPLE}. It printed last: `epoch 1`; `50%|#`; `val_loss: 0.4`",
    ),
    "the repr of a dict": (
        "{'val_loss': 0.4}\n\nhpo passes over a line; this is said once\n",
        " that can be read (its names stand in single quotes, as Python prints a dict; json.dumps writes it right); "
        f"{EXAMPLE}. It printed last: `{{'val_loss': 0.4}}`",
    ),
    "a logger": (
        'INFO:root:{"val_loss": 0.4}\n',
        " on stdout, but on stderr, where logging writes (print() writes to stdout); "
        f'{EXAMPLE}. It printed last: `INFO:root:{{"val_loss": 0.4}}`',
    ),
    "JSON on several lines": (
        '{\n  "step": 1,\n  "val_loss": 0.4\n}\n',
        f' (its JSON stands on several lines: leave out indent); {EXAMPLE}. It printed last: `"step": 1,`; '
        '`"val_loss": 0.4`; `}`',
    ),
    "another metric without a step": (
        '{"val_los": 0.4}\n',
        f' with val_loss, but one with val_los; {EXAMPLE}. It printed last: `{{"val_los": 0.4}}`',
    ),
}


@pytest.mark.parametrize("case", NOTHING)
def test_a_program_without_a_metric_is_told_what_a_line_looks_like(case: str) -> None:
    tail, said = NOTHING[case]
    assert why_no_metric(("val_loss",), {}, tail) == f"the command printed no JSON line{said}"


def test_the_reason_of_a_program_without_a_metric(trained) -> None:
    trial, _, _ = trained('print(\'{"step": 1, "val_los": 0.4}\')')
    outcome = trial.user_attrs["hpo:outcome"]
    assert (trial.state.name, outcome["cause"]) == ("FAIL", "invalid")
    assert outcome["reason"] == (
        "the command reported no metric 'val_loss', but val_los; expected a line such as "
        '{"step": 1, "val_loss": 0.9} on stdout. Did you mean \'val_los\'?'
    )
