"""Give one reader damaged inputs for some seconds: `python -m tests.fuzz.fuzz READER FOLDER SECONDS [SEED]`."""

from __future__ import annotations

import faulthandler
import json
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hpo.errors import HpoError
from hpo.machine.memory import host_memory

MOST_BYTES = 500 * 2**20
MOST_SECONDS = 10

HISTORY = b"".join(
    b'{"step":%d,"time":1763733600.0,"attempt":1,"metrics":{"val_loss":0.%d,"a":"nan"}}\n' % (n, n) for n in range(1, 9)
)
REQUEST = b'{"action": "extend", "arguments": {"trials": "+5", "hours": 2}, "by": "me@here", "sent": 1763733600.0}'
KNOWLEDGE = json.dumps(
    {
        "format": "hpo-knowledge", "version": 1,
        "studies": [
            {
                "name": "toy", "objective": "train.py:train",
                "metrics": [{"name": "score", "direction": "maximize"}],
                "search_space": {"x": {"low": 0.0, "high": 1.0}, "k": {"choices": {"a": {"y": {"low": 1, "high": 5}}}}},
                "group_by": None, "trials": {"complete": 40, "pruned": 12, "failed": 1},
                "began": 1763733600.0, "ended": 1763740800.0, "data": {"train": "9f86d0"},
                "best": [{"number": 3, "params": {"x": 0.25, "k": "a", "y": 2}, "values": [0.9]}],
            }
        ],
    }, indent=1,
).encode()  # fmt: skip
STUDY = b"""\
name: toy
x-base: &base {low: 0.0, high: 1.0}
command: [python, train.py, "{x}", "{k}"]
metrics: [{name: loss, direction: minimize}]
budget: {trials: 3, hours: 1.5}
engine: {name: local, workers: 2, retries: 1}
sampler: {name: tpe}
mlflow: false
red_flags: [non_finite, {name: flat, when: "rising(val_loss, 3) and epoch >= 4", action: stop}]
search_space:
  x: {<<: *base, log: false}
  k: {choices: {a: {y: {low: 1, high: 5}}, b: {}}}
  w: {simplex: [one, two, three]}
enqueue: [{x: 0.5, k: b}]
"""
RULES = [
    b"val_loss > 0.5", b"rising(val_loss, 3) and epoch >= 4", b"not (train_loss < 0.1 or lr == 1e-3)",
    b"min(val_loss) * 2 - max(train_loss) / 3 >= -1", b"epoch > 10 and finite(val_loss)",
]  # fmt: skip
LOGS = [
    b"epoch,train_loss,val_loss\n1,0.5,0.6\n2,0.4,0.5\n3,0.3,nan\n",
    b"epoch;loss;val_loss\n1;0,5;0,6\n2;0,4;0,5\n",
    b"epoch,step,train_loss_step,train_loss_epoch,val_loss\n0,1,0.5,,\n0,2,0.4,,\n0,2,,0.45,0.5\n",
    b'{"epoch": 1, "train": {"loss": 0.5}, "val": {"loss": 1e300}}\n{"epoch": 2, "train": {"loss": null}}\n',
    b'[{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": true}]',
    HISTORY,
]
ODD = [
    b"[" * 30_000, b"{" * 30_000, b'{"a":' * 30_000, b"- " * 30_000, b"? " * 3_000, b"(" * 5_000, b"not " * 5_000,
    b"-" * 5_000, b"9" * 400, b"9" * 5_000, b"1e999", b"-1", b"NaN", b"inf", b"null", b"true", b"\x00", b"\xff\xfe",
    b"\xed\xa0\x80", b'"\\ud800"', "\u2028\x85\ufeff".encode(), b"&a [*a, *a]", b"<<: *base", b"!!python/none x",
    b"a," * 20_000, b"\n" * 20_000, b"\r", b"{}", b"[]", b"''", b'"', b"*", b"%", b"1_0", b"0x" + b"f" * 300,
    b": ", b"\t", b" and x > 1" * 2_000, b" + 1" * 5_000, b"**9" * 50, b"x" * 70_000,
]  # fmt: skip


def damaged(seed: bytes, chance: random.Random) -> bytes:
    """Return an input with up to eight damages: bytes flipped, pieces cut, doubled, moved, or odd ones put in."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 8)):
        at, to = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        kind = chance.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] = chance.randrange(256)
        elif kind == 1:
            del data[at : min(to, at + 40)]
        elif kind == 2:
            data[at:at] = (data[at:to] * chance.choice((1, 1, 2, 50)))[: 2**20]
        elif kind == 3:
            data[at : min(to, at + chance.choice((0, 1, 8)))] = chance.choice(ODD)
        elif kind == 4:
            data[at:at] = chance.choice((b",", b":", b"{", b"}", b"[", b"]", b"(", b")", b'"', b"\n", b" ", b"0", b"e"))
        else:
            del data[at:]
    return bytes(data[: 2**20])


def _readers(folder: Path) -> dict[str, tuple[list[bytes], Callable[[bytes], object]]]:
    from hpo.analysis.training.log_files import read_log
    from hpo.control import requests
    from hpo.red_flags.condition import ConditionError, Scope, parse_condition
    from hpo.spec.load import load_with_hints
    from hpo.storage import history
    from hpo.warm_start import knowledge_file

    def yaml(data: bytes) -> None:
        path = folder / "study.yaml"
        path.write_bytes(data)
        load_with_hints(path)[0].to_yaml()

    def rules(data: bytes) -> None:
        try:
            condition = parse_condition(data.decode(errors="replace"))
        except ConditionError as error:  # a ValueError, which study.yaml's reader says with its line
            raise HpoError(str(error)) from error
        values = {"val_loss": 1.0, "epoch": 5.0, "lr": 1e-300}
        condition.holds(Scope(values, {"val_loss": [1.0, 2.0]}, {"val_loss": [1, 2]}))

    def logs(data: bytes) -> None:
        path = folder / "log.txt"
        path.write_bytes(data)
        read_log(path)

    def knowledge(data: bytes) -> None:
        path = folder / "knowledge.json"
        path.write_bytes(data)
        knowledge_file.dump(knowledge_file.read(path))

    def request(data: bytes) -> None:
        path = folder / "1.json"
        path.write_bytes(data)
        for found in requests.pending_requests(folder):
            if isinstance(found, requests.Request) and found.action == "extend":
                from hpo.spec.models import Budget

                requests.extended_budget("toy", Budget(trials=3, hours=1.0), found.arguments)
        path.rename(folder / "steering.json")
        requests.read_steering(folder)

    def rows(data: bytes) -> None:
        path = folder / "history.jsonl"
        path.write_bytes(data)
        steps = history.read(path)
        history.write(path, steps)
        assert repr(history.read(path)) == repr(steps)

    steering = b'{"paused": {"since": 1763733600.0, "by": "me"}, "budget": {"trials": 7.0}, "answered": {"1": "x"}}'
    return {
        "yaml": ([STUDY], yaml),
        "rules": (RULES, rules),
        "logs": (LOGS, logs),
        "knowledge": ([KNOWLEDGE], knowledge),
        "requests": ([REQUEST, steering], request),
        "history": ([HISTORY], rows),
    }


def main(reader: str, folder: Path, seconds: float, first: int) -> None:
    """Read damaged inputs until the time is over; the number of an input is its seed."""
    (folder / "train.py").write_text("def train(trial): ...\n")
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)  # says where the time went, and the signal ends the process
    seeds, read = _readers(folder)[reader]
    for seed in seeds:
        read(seed) if reader != "requests" else None
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
    until, number, refused, slowest = time.monotonic() + seconds, first, 0, 0.0
    while time.monotonic() < until:
        chance = random.Random(number)
        data = damaged(chance.choice(seeds), chance)
        # By the time of this process, for the machine may be busy.
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
        (folder / "input").write_bytes(data)
        try:
            read(data)
        except HpoError as error:
            str(error).encode()
            refused += 1
        except BaseException:
            print(f"{reader}: input {number}: {data[:300]!r}", flush=True)
            raise
        slowest = max(slowest, MOST_SECONDS - signal.setitimer(signal.ITIMER_PROF, 0)[0])
        number += 1
    most = host_memory() >> 20  # not getrusage's, which begins with what the parent process had
    print(f"{reader}: {number - first} inputs, {refused} refused, {most} MiB and {slowest:.2f} s at most")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 0)
