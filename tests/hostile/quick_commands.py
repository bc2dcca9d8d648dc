"""Process that runs lists of hpo commands, each list in a fork of its own: what takes a second is imported once.

A task is a line of JSON on stdin: `commands`, `records` (names of studies, which are read afterwards as all commands
read X that gets a line of JSON for each command. When all is done, a line comes on stdout.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

# A command that takes longer hangs. A driver that cannot be seen from here is waited for 60 s.
ENDLESS = 150.0
# What commands import only when they need it.
_IMPORTED_LATE = (
    "babel.dates", "encodings.utf_8_sig", "optuna.storages", "optuna_dashboard", "plotly.express", "sklearn.ensemble",
    "hpo.actions.best", "hpo.doctor.examine", "hpo.engines.inline", "hpo.engines.local", "hpo.reports.end_of_run",
    "hpo.reports.figures", "hpo.reports.write", "hpo.runner", "hpo.trackers.mlflow.client",
)  # fmt: skip


def serve() -> None:
    _import_what_commands_import()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _play(json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _import_what_commands_import() -> None:
    from hpo.cli.main import COMMANDS

    commands = [place.partition(":")[0] for place, _ in COMMANDS.values()]
    for name in [*commands, *_IMPORTED_LATE]:
        importlib.import_module(name)


def _play(task: dict[str, Any]) -> None:
    os.setsid()
    os.environ.update(task["environment"])
    os.chdir(task["folder"])
    result = Path(task["result"])
    from hpo.cli.main import main

    with result.open("w", encoding="utf-8") as file:
        for command in task["commands"]:
            json.dump(_said(result, command, lambda command=command: main(command)), file)
            print(file=file, flush=True)
        for name in task["records"]:
            json.dump(_said(result, ["records", name], lambda name=name: _read(Path(task["runs"]), name)), file)
            print(file=file, flush=True)


def _said(result: Path, command: list[str], call: Any) -> dict[str, Any]:
    out, err = result.with_suffix(".out"), result.with_suffix(".err")
    with out.open("wb") as stdout, err.open("wb") as stderr:
        os.dup2(stdout.fileno(), 1)
        os.dup2(stderr.fileno(), 2)
    began = time.monotonic()
    faulthandler.dump_traceback_later(ENDLESS, exit=True)
    try:
        code = call()
    except BaseException:
        traceback.print_exc()
        code = "raised"
    finally:
        faulthandler.cancel_dump_traceback_later()
    sys.stdout.flush()
    sys.stderr.flush()
    said = [path.read_text(encoding="utf-8", errors="replace") for path in (out, err)]
    return {"command": command, "code": code, "out": said[0], "err": said[1], "seconds": time.monotonic() - began}


def _read(runs: Path, name: str) -> int:
    """Print what every reader of a study gets."""
    from hpo.analysis.records import read_study
    from hpo.errors import HpoError

    try:
        study = read_study(runs, name)
    except HpoError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    trials = [
        {
            "number": trial.number,
            "state": trial.state,
            "requeued": trial.requeued,
            "retry_of": trial.retry_of,
            "params": dict(trial.params),
            "values": dict(trial.values),
            "reason": trial.reason,
            "history": [[step.step, dict(step.metrics)] for step in trial.history],
        }
        for trial in study.trials
    ]
    print(json.dumps({"study": name, "trials": trials}))
    return 0


if __name__ == "__main__":
    serve()
