"""`hpo try` on studies with one mistake each: the line that names it, and nothing else is left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

from hpo.actions import probe, try_cost, try_trial, try_use
from hpo.actions.try_trial import Tried
from hpo.cli.main import main
from hpo.trial import Job, Outcome, Usage

HEAD = "import time\n\n\ndef train(trial):\n"
# A training without a mistake; `{...}` are what a test changes.
SOUND = """
    lr, epochs = trial.params["lr"], trial.constants["epochs"]
    state = trial.restore() or 0
    for epoch in range(state + 1, epochs + 1):
        loss = lr / epoch
        trial.save(epoch)
        trial.report(epoch, val_loss=loss, train_loss=loss / 2)
    return {"val_loss": loss}
"""


@pytest.fixture
def tried(tmp_path: Path, capsys, monkeypatch) -> Callable[..., dict[str, Any]]:
    """Return what `hpo try --json` says of an objective, the body of its function, and fail if it leaves anything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)

    def call(body: str, *options: str, program: str | None = None, **keys: Any) -> dict[str, Any]:
        (tmp_path / "objective.py").write_text(program if program else HEAD + indent(dedent(body), "    "))
        study = {
            "name": "tried",
            "objective": "objective.py:train",
            "metrics": [{"name": "val_loss", "direction": "minimize"}],
            "search_space": {"lr": {"low": 0.1, "high": 1.0}},
            "constants": {"epochs": 9},
            "budget": {"trials": 40},
            "engine": {"workers": 1},
        } | keys
        if "command" in study:
            del study["objective"]
        (tmp_path / "study.yaml").write_text(json.dumps(study))
        before = {path.name for path in tmp_path.iterdir()}
        code = main(["try", "study.yaml", "--json", *options])
        found = json.loads(capsys.readouterr().out)
        assert {path.name for path in tmp_path.iterdir()} - before <= {"__pycache__"}
        assert [*(tmp_path / "temporary").iterdir()] == []
        assert code == (1 if found["errors"] else 0)
        return found

    return call


def lines(found: dict[str, Any], topic: str) -> list[tuple[str, str]]:
    return [(one["level"], f"{one['text']}. {one['todo']}") for one in found["findings"] if one["topic"] == topic]


def said(found: dict[str, Any], topic: str, level: str) -> str:
    """Return the one line of a topic that is not ok."""
    (line,) = [line for line in lines(found, topic) if line[0] != "ok"]
    assert line[0] == level
    return line[1]


def test_a_sound_study_has_nothing_but_ok_and_a_cost(tried):
    found = tried(SOUND)
    assert {one["level"] for one in found["findings"]} == {"ok"}, found["findings"]
    assert [report["step"] for report in found["reports"]] == [1, 2] == [*range(1, probe.EPOCHS + 1)]
    topics = [one["topic"] for one in found["findings"]]
    expected = ["trial", "steps", "metrics", "values", "returned", "parameters", "constants", "checkpoints", "time"]
    assert [topic for topic in topics if topic not in ("memory", "gpu")] == expected
    assert found["plan"]["forecast"]["trials"]["middle"] == 40


MISTAKES = {
    "no report": (
        "return {'val_loss': trial.params['lr'] / trial.constants['epochs']}",
        "steps",
        "warning",
        "it reported nothing while it trained",
    ),
    "a step that never changes": (
        "a = trial.params['lr'] / trial.constants['epochs']\n"
        "for epoch in range(99):\n    trial.report(0, val_loss=a / (1 + epoch))\n"
        "return {'val_loss': 0}",
        "steps",
        "error",
        "always at step 0",
    ),
    "steps that fall": (
        SOUND.replace("trial.report(epoch,", "trial.report(epochs - 4 * epoch + 4,"),
        "steps",
        "error",
        "after step 9",
    ),
    "a step that is a float": (
        SOUND.replace("trial.report(epoch,", "trial.report(epoch * 1.0,"),
        "trial",
        "error",
        "step is 1.0 (float)",
    ),
    "steps that begin far away": (
        SOUND.replace("trial.report(epoch,", "trial.report(epoch * 500,"),
        "steps",
        "warning",
        "the first step is 500",
    ),
    "a step that comes twice": (
        SOUND.replace("trial.report(epoch,", "trial.report(epoch, val_loss=1); trial.report(epoch,"),
        "steps",
        "warning",
        "was reported 2 times with val_loss",
    ),
    "a metric under another name": (
        SOUND.replace("val_loss=loss,", "vall_loss=loss,"),
        "metrics",
        "error",
        "Did you mean 'vall_loss'?",
    ),
    "a value that is not finite": (
        SOUND.replace("val_loss=loss,", "val_loss=float('nan') * loss,"),
        "values",
        "error",
        "val_loss is nan in the first 2 epochs",
    ),
    "a value that never changes": (
        SOUND.replace("val_loss=loss,", "val_loss=0.5,"),
        "values",
        "warning",
        "val_loss did not change: 0.5 in every epoch",
    ),
    "another name is returned": (
        SOUND.replace("return {'val_loss'", "return {'loss'").replace('return {"val_loss"', 'return {"loss"'),
        "returned",
        "error",
        "the objective returns loss, and no 'val_loss'",
    ),
    "a constant that is not read": (
        SOUND.replace('trial.constants["epochs"]', "9"),
        "constants",
        "warning",
        "epochs was not read in the first 2 epochs, and the training has its own number of epochs",
    ),
    "it saves and does not restore": (
        SOUND.replace("trial.restore() or 0", "0"),
        "checkpoints",
        "warning",
        "it saves and never asks for what was saved",
    ),
    "it catches the stop": (
        SOUND.replace(
            "        trial.report(epoch, val_loss=loss, train_loss=loss / 2)\n",
            "        try:\n            trial.report(epoch, val_loss=loss, train_loss=loss / 2)\n"
            "        except Exception:\n            pass\n",
        ),
        "trial",
        "error",
        "it catches hpo.Pruned",
    ),
    "it fails": (SOUND.replace("lr / epoch", "lrr / epoch"), "trial", "error", "NameError: name 'lrr' is not defined"),
    "it returns in time and something else": (
        SOUND.replace('return {"val_loss": loss}', "return loss").replace("epochs + 1", "2"),
        "trial",
        "error",
        "expected a dict such as {'val_loss': 0.9}",
    ),
    "it returns what it did not report": (
        SOUND.replace('{"val_loss": loss}', '{"val_loss": -3.0}').replace("epochs + 1", "3"),
        "returned",
        "error",
        "returned val_loss = -3, but reported",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_named(tried, name):
    body, topic, level, words = MISTAKES[name]
    # The last epoch but one would be the end: a training that is not stopped in time is seen, too.
    found = tried(body, *(["--epochs", "3"] if "returns" in name else []))
    assert words in said(found, topic, level), found["findings"]
    others = [one for one in found["findings"] if one["level"] != "ok" and one["topic"] != topic]
    allowed = {"no report": {"checkpoints"}, "a step that is a float": set(), "steps that fall": {"returned"}}
    assert {one["topic"] for one in others} <= allowed.get(name, set()), others


def test_a_parameter_that_is_not_read_and_one_of_another_choice(tried):
    space = {
        "lr": {"low": 0.1, "high": 1.0},
        "momentum": {"low": 0.0, "high": 0.9},
        "optimizer": {"choices": {"adam": {"beta": {"low": 0.1, "high": 0.2}}, "sgd": {}}},
        "width": 64,
    }
    found = tried(SOUND, search_space=space, enqueue=[{"lr": 0.5, "momentum": 0.5, "optimizer": "sgd"}])
    assert [text.split()[0] for level, text in lines(found, "parameters")] == ["momentum", "optimizer"]
    assert found["params"] == {"lr": 0.5, "momentum": 0.5, "optimizer": "sgd", "width": 64}
    assert found["origin"] == "the first of enqueue"


def test_a_red_flag_over_a_name_that_never_comes(tried):
    flags = [{"name": "nothing", "when": "val_recal == 0"}, {"name": "rising", "metric": "train_los"}]
    found = tried(SOUND, red_flags=flags)
    (first, second) = lines(found, "red flags")
    assert first[0] == second[0] == "warning"
    assert "no trial reported 'val_recal'" in first[1]
    assert "Did you mean 'train_loss'?" in second[1]


def test_a_score_that_stands_while_the_loss_of_its_split_falls_is_no_mistake(tried):
    score = [{"name": "val_recall", "direction": "maximize"}]
    body = SOUND.replace("val_loss=loss,", "val_recall=0.0, val_loss=loss,").replace(
        '"val_loss": loss', '"val_recall": 1'
    )
    assert lines(tried(body, metrics=score), "values") == [("ok", "all finite: val_recall 0, 0. ")]
    body = body.replace("val_loss=loss,", "")
    assert "val_recall did not change" in said(tried(body, metrics=score), "values", "warning")


def test_a_red_flag_may_name_a_parameter_that_this_trial_does_not_have(tried):
    space = {"lr": 0.1, "net": {"choices": {"a": {}, "b": {"unfreeze": {"low": 1, "high": 3}}}}}
    body = SOUND.replace("lr / epoch", 'lr / epoch + len(trial.params["net"])')
    flags = [{"name": "late", "when": "epoch == unfreeze + 1 and val_loss > 9"}]
    found = tried(body, search_space=space, enqueue=[{"net": "a"}], red_flags=flags)
    assert lines(found, "red flags") == []


def test_the_same_seed_twice(tried):
    found = tried(SOUND.replace("lr / epoch", "lr / epoch + __import__('random').random()"), "--twice")
    assert [level for level, _ in lines(found, "seed")] == ["ok"]
    found = tried(SOUND.replace("lr / epoch", "lr / epoch + __import__('os').urandom(1)[0]"), "--twice")
    assert "val_loss of epoch 1 is" in said(found, "seed", "warning")


def test_a_training_that_takes_too_long_is_ended(tried):
    found = tried(SOUND.replace("loss = lr", "time.sleep(600)\n        loss = lr"), "--minutes", "0.02")
    assert "it was ended with 0 epochs reported; expected 2 epochs" in said(found, "trial", "error")
    assert "--minutes 1 waits longer" in said(found, "trial", "error")


@pytest.mark.parametrize(
    ("body", "level", "words"),
    [
        ("raise MemoryError('too big')", "error", "it ran out of memory: too big"),
        ("import hpo\nraise hpo.Pruned('not this one')", "warning", "gave this configuration up: not this one"),
        ("__import__('os')._exit(3)", "error", "exited with code 3"),
    ],
)
def test_a_training_that_ends_at_once_says_nothing_of_what_it_reads(tried, body, level, words):
    found = tried(body)
    assert words in said(found, "trial", level)
    assert lines(found, "parameters") == lines(found, "constants") == []


def test_what_processes_of_the_objective_read_is_not_seen(tried):
    body = SOUND.replace("lr / epoch", "1 / epoch").replace('trial.params["lr"]', "__import__('os').fork()")
    body = body.replace("state =", "lr or __import__('os')._exit(0); state =", 1)
    (line,) = lines(tried(body), "parameters")
    assert line[0] == "ok"
    assert "which of them it reads is not seen" in line[1]


def test_epochs_in_pieces_are_whole_and_one_epoch_is_enough(tried):
    body = SOUND.replace(
        "trial.report(epoch, val_loss=loss, train_loss=loss / 2)",
        "trial.report(epoch, train_loss=loss); trial.report(epoch, val_loss=loss)",
    )
    assert [report["step"] for report in tried(body)["reports"]] == [1, 1, 2, 2]
    found = tried(body, "--epochs", "1")
    assert [report["step"] for report in found["reports"]] == [1, 1]
    assert lines(found, "metrics")[0][0] == "ok"


def test_a_training_that_ends_before_is_whole(tried):
    found = tried(SOUND, "--set", "constants.epochs=2", "--epochs", "5")
    assert "it came to its end" in lines(found, "trial")[0][1]
    assert lines(found, "returned")[0][0] == "ok"


def test_data_that_cannot_be_loaded(tried):
    check = "\n\ndef check_data(trial):\n    raise ValueError('there is no folder images')\n"
    found = tried("", program=HEAD + SOUND + check)
    assert "there is no folder images" in said(found, "data", "error")
    check = "\n\ndef check_data(trial):\n    return '12 images; 3 classes'\n"
    assert lines(tried("", program=HEAD + SOUND + check), "data") == [("ok", "12 images; 3 classes. ")]


def test_a_study_that_is_wrong_and_a_number_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text("name: x\n")
    assert main(["try", "study.yaml"]) == 2
    assert main(["try", "nowhere.yaml"]) == 2
    assert main(["try", "quickstart", "--enqueue", "9"]) == 2
    assert "the study enqueues 3 configurations" in capsys.readouterr().err


def test_what_is_printed_ends_with_the_cost_and_the_next_command(tried, tmp_path, capsys):
    tried(SOUND)
    assert main(["try", "study.yaml"]) == 0
    said = capsys.readouterr()
    assert "trains one trial of tried for 2 epochs, in a temporary folder" in said.err
    assert "  step 1 after " in said.err
    assert "\nok       steps       reported 1, 2\n" in said.out
    assert "a full run: 40 trials, 1 at once, end " in said.out
    assert "0 errors, 0 warnings: `hpo run " in said.out
    tried(SOUND.replace("lr / epoch", "lrr / epoch"))
    assert main(["try", "study.yaml"]) == 1
    said = capsys.readouterr()
    assert "  | NameError: name 'lrr' is not defined" in said.out
    assert said.out.endswith("1 error, 0 warnings\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["quickstart", "mitochondria_small", "glaucoma_small", "audio_angle_small", "abr_small"]
)
def test_the_studies_that_come_with_hpo_have_no_mistake(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["try", name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one for one in found["findings"] if one["level"] != "ok" and one["topic"] != "gpu"] == []
    assert found["plan"]["forecast"] is not None
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("asked", "here", "held", "level", "words"),
    [
        (0, [], 0, None, ""),
        (0, ["H200"], 0, "warning", "this machine has 1 GPU, and engine.gpu is 0: trials see none"),
        (0.5, [], 0, "warning", "engine.gpu is 0.5, and no GPU is visible here"),
        (1, ["H200"], 0, "warning", "engine.gpu is 1, and torch held nothing of it"),
        ("auto", ["H200"], 2**31, "ok", "torch held 2.00 GiB of it (25%)"),
    ],
)
def test_a_gpu_that_is_asked_for_is_used(make_spec, tmp_path, monkeypatch, asked, here, held, level, words):
    monkeypatch.setattr(try_use, "visible_gpus", lambda: here)
    monkeypatch.setattr(try_trial, "visible_gpus", lambda: here)
    spec = make_spec(engine={"gpu": asked})
    job = Job(0, {"x": 0.5}, 1, spec.objective_ref(), {}, tmp_path, ("score",))
    end = Outcome(0, "PRUNED", cause="pruner", reason="enough", peak_gpu_bytes=held)
    one = Tried(job, outcome=end, usage=Usage(gpu_memory=0.25 if held else 0.0))
    found = [(each.level, each.text) for each in try_use.gpu(spec, one)]
    assert [each[0] for each in found] == ([level] if level else [])
    assert not found or words in found[0][1]


def test_trials_that_do_not_fit_the_memory_beside_each_other(make_spec, tmp_path, monkeypatch):
    monkeypatch.setattr(try_cost, "machine_memory", lambda: 8 * 2**30)
    spec = make_spec(engine={"workers": 3}, constants={"epochs": 4})
    job = Job(0, {"x": 0.5}, 1, spec.objective_ref(), {}, tmp_path, ("score",))
    one = Tried(job, usage=Usage(host_bytes=3 * 2**30), ended_by_us=True)
    one.reports = [(10.0, 1, {"score": 1.0}), (12.0, 2, {"score": 2.0})]
    one.outcome = Outcome(0, "PRUNED", cause="pruner", reason="enough", seconds=12.0)
    (found,) = try_cost.memory(one, try_cost.plan_of(spec, one, tmp_path / "runs"))
    assert found.level == "error"
    assert found.text == "3.00 GiB a trial, 3 trials at once, 8.0 GiB here"
    assert found.todo == "--set engine.workers=2 fits"
    # 12 s in all, of which two epochs of 2 s: 8 s of start, and four epochs take 16 s.
    (time,) = try_cost.times(spec, one)
    assert time.text == "2.0 s an epoch, after 8.0 s of start; 4 epochs take about 16.0 s"
    short = make_spec(engine={"workers": 3, "trial_timeout": 10}, constants={"epochs": 4})
    assert [each.level for each in try_cost.times(short, one)] == ["ok", "error"]


# --- commands

PROGRAM = """
import argparse, json, sys
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--epochs", type=int)
args = parser.{parse}
for epoch in range(1, args.epochs + 1):
    {row}
"""
ROW = 'print(json.dumps({"epoch": epoch, "val_loss": args.lr / epoch}), flush=True)'
COMMAND = ["python", "objective.py", "--lr", "{lr}", "--epochs", "{constants.epochs}"]


def program(row: str = ROW, parse: str = "parse_args()") -> str:
    return PROGRAM.replace("{parse}", parse).replace("{row}", row)


def test_a_sound_command(tried):
    found = tried("", program=program(), command=COMMAND)
    assert {one["level"] for one in found["findings"]} == {"ok"}, found["findings"]


@pytest.mark.parametrize(
    ("row", "topic", "level", "words"),
    [
        ('print(f"Epoch {epoch}/9 - loss: {args.lr / epoch:.3f}")', "output", "error", "looks like a metric"),
        ('print({"epoch": epoch, "val_loss": 1.0 / epoch})', "output", "warning", "single quotes"),
        ('print(json.dumps({"epoch": epoch / 2, "val_loss": 1 / epoch}))', "output", "warning", "no whole number"),
        ('print(json.dumps({"val_loss": 1 / epoch}))', "output", "warning", "none with a step"),
        ('print(json.dumps({"epoch": epoch, "loss": 1 / epoch}), flush=True)', "metrics", "error", "but loss"),
        ('sys.exit("no data")', "trial", "error", "exited with code 1"),
    ],
)
def test_what_a_command_prints_and_hpo_does_not_understand(tried, row, topic, level, words):
    found = tried("", program=program(row), command=COMMAND)
    assert words in said(found, topic, level), found["findings"]


@pytest.mark.parametrize(
    ("name", "call"), [("f1", "hpo.report(epoch, f1=value)"), ("val/f1", '(epoch, {"val/f1": value})')]
)
def test_the_call_that_is_proposed_is_python(tried, name, call):
    row = 'print(f"Epoch {epoch}/9 - loss: {args.lr / epoch:.3f}")'
    found = tried("", program=program(row), command=COMMAND, metrics=[{"name": name, "direction": "maximize"}])
    assert call in said(found, "output", "error"), found["findings"]


def test_flags_that_a_program_does_not_know(tried):
    wrong = [*COMMAND[:2], "--lrr", "{lr}", *COMMAND[4:]]
    found = tried("", program=program(), command=wrong)
    assert "--lrr" in said(found, "flags", "error")
    assert "Did you mean '--lr'?" in said(found, "flags", "error")
    passed = program(ROW.replace("args.lr", "1"), "parse_known_args()[0]")
    found = tried("", program=passed, command=wrong)
    assert "the program's code has no --lrr" in said(found, "flags", "warning")


def test_placeholders_that_are_not_used(tried):
    space = {"lr": {"low": 0.1, "high": 1.0}, "momentum": {"low": 0.0, "high": 0.9}}
    found = tried("", program=program(), command=COMMAND, search_space=space, constants={"epochs": 9, "patience": 3})
    assert "put {momentum} into `command`" in said(found, "parameters", "warning")
    assert "patience is in no placeholder" in said(found, "constants", "warning")
