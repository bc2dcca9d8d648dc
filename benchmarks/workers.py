"""What one driver of the local engine serves: reports and trials a second, and how long a report waits for its answer.

    python benchmarks/workers.py [--workers 2 16 64 256] [--rounds 3]
    python benchmarks/workers.py --engine local --workers 64
    python benchmarks/workers.py --engine ray --workers 2 8

The workers are simulated: one process answers for all of them over as many pipes as the engine has opened, with the
messages of real ones. So the driver's limit shows on a machine that could not train so many trials. No-op trials of
10 reports, random search, a journal file; `--sampler tpe` asks the study's default instead. Three loads:

no pause    every worker sends its next report as soon as the last one is answered: what the driver serves at most
slow asks   0.1 s of training before each report, and an `ask` takes 0.1 s more: how long reports wait for asks
one chatty  the same without the slow asks, and one worker never pauses: how long the reports of the others wait

Times are from the first start of a trial to the last end of one; with `--engine local` or `ray` the start of the worker
processes is in them, and nobody pauses. idle: the part of a worker's time from its outcome to its next job.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import optuna
from noop import study_yaml

from hpo.engines import worker_process
from hpo.engines.factory import make_engine
from hpo.oracle.oracle import Oracle
from hpo.search.samplers import make_pruner, make_sampler
from hpo.spec.load import load_spec
from hpo.storage.open import open_storage, storage_url
from hpo.trackers.base import Progress, Tracker
from hpo.trial import Job, Outcome, Report
from hpo.worker.main import OUTCOME, READY, REPORT

REPORTS = 10


@dataclass(frozen=True)
class Load:
    """pause: seconds of training before a report; worker 0 never pauses if `chatty`. ask: seconds more for an ask."""

    pause: float = 0.0
    ask: float = 0.0
    chatty: bool = False


LOADS = {"no pause": Load(), "slow asks": Load(0.1, 0.1), "one chatty": Load(0.1, chatty=True)}


# --- the process that simulates workers


@dataclass
class _Simulated:
    connection: Connection
    pause: float
    job: Job | None = None
    step: int = 0
    sent: float = 0.0
    ended: float = 0.0


def simulate(channel: socket.socket, load: Load) -> None:
    """Be all the workers whose pipes come over `channel`, until that ends. Print what they saw as JSON."""
    workers: list[_Simulated] = []
    waits: list[float] = []
    idle = busy = 0.0
    due: list[tuple[float, int]] = []
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ, None)

        def report(worker: _Simulated) -> None:
            assert worker.job is not None
            worker.sent = time.monotonic()
            metrics = {"score": float(worker.step)}
            worker.connection.send((REPORT, Report(worker.job.number, worker.step, metrics, worker.sent)))

        def go_on(index: int) -> None:
            worker = workers[index]
            if worker.pause:
                heapq.heappush(due, (time.monotonic() + worker.pause, index))
            else:
                report(worker)

        def heard(index: int) -> bool:
            nonlocal idle, busy
            worker, now = workers[index], time.monotonic()
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                return False
            if worker.job is None:
                worker.job, worker.step = message[0], 0
                idle += now - worker.ended if worker.ended else 0.0
                worker.ended = now
                go_on(index)
                return True
            waits.append(now - worker.sent) if not load.chatty or index else None
            worker.step += 1
            if worker.step < REPORTS:
                go_on(index)
                return True
            outcome = Outcome(worker.job.number, "COMPLETE", {"score": 0.0}, seconds=now - worker.ended)
            worker.job, busy, worker.ended = None, busy + now - worker.ended, now
            worker.connection.send((OUTCOME, outcome))
            worker.connection.send((READY, True))
            return True

        while selector.get_map():
            timeout = max(0.0, due[0][0] - time.monotonic()) if due else None
            for key, _ in selector.select(timeout):
                if key.data is not None:
                    if not heard(key.data):
                        selector.unregister(key.fileobj)
                    continue
                message, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
                if not message:
                    selector.unregister(channel)
                    continue
                pause = 0.0 if load.chatty and not workers else load.pause
                workers.append(_Simulated(Connection(descriptors[0]), pause))
                selector.register(workers[-1].connection, selectors.EVENT_READ, len(workers) - 1)
            while due and due[0][0] <= time.monotonic():
                report(workers[heapq.heappop(due)[1]])
    waits.sort()
    print(json.dumps({
        "median": statistics.median(waits), "p99": waits[int(0.99 * len(waits))], "longest": waits[-1],
        "idle": idle / (idle + busy),
    }))  # fmt: skip


class _Popen:
    """A worker process, as `WorkerProcess` starts it: its pipe goes to the process that simulates all of them."""

    channel: socket.socket
    pid = 0

    def __init__(self, *arguments: Any, pass_fds: tuple[int, ...], **options: Any) -> None:
        socket.send_fds(self.channel, [b"x"], [pass_fds[0]])

    def poll(self) -> int | None:
        return None

    def wait(self, timeout: float | None = None) -> int:
        return 0


# --- one measurement, in a process of its own


class _Watch(Tracker):
    """Time and CPU time of this process from the start of the first trial to the end of the last one."""

    first: tuple[float, float] | None = None
    last = (0.0, 0.0)

    def trial_started(self, job: Job) -> None:
        self.first = self.first or (time.perf_counter(), time.process_time())

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        self.last = time.perf_counter(), time.process_time()

    def seen(self) -> dict[str, float]:
        assert self.first is not None
        return {"seconds": self.last[0] - self.first[0], "cpu": self.last[1] - self.first[1]}


def measure(workers: int, trials: int, load: Load, sampler: str, engine: str, storage: str | None) -> dict[str, float]:
    """Drive a study to its end. Return what was seen, times in seconds."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Three descriptors a worker.
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    simulator = None
    if engine == "simulated":
        ours, theirs = socket.socketpair()
        command = [sys.executable, __file__, "--simulate", str(theirs.fileno()), json.dumps(vars(load))]
        with theirs:
            simulator = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True)
        _Popen.channel = ours
        worker_process.subprocess = type("subprocess", (), {**vars(subprocess), "Popen": _Popen})  # type: ignore
        worker_process.end_group = lambda group: None  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        name = "ray" if engine == "ray" else "local"
        (folder / "study.yaml").write_text(study_yaml("workers", trials, engine=name))
        own = [f"engine.workers={workers}", *([] if sampler == "tpe" else [f"sampler={sampler}"])]
        spec = load_spec(folder / "study.yaml", own + ([f"storage={storage}"] if storage else []))
        study = optuna.create_study(
            study_name=f"workers-{os.getpid()}", storage=open_storage(storage_url(spec, folder)), direction="maximize",
            sampler=make_sampler(spec, 0), pruner=make_pruner(spec),
        )  # fmt: skip
        watch = _Watch()
        oracle = Oracle(spec, study, folder / "workers", watch)
        if load.ask:
            ask = oracle.ask
            oracle.ask = lambda fixed=None: (time.sleep(load.ask), ask(fixed))[1]  # type: ignore[method-assign]
        make_engine(spec, folder / "workers", print).run(oracle)
        assert oracle.budget.progress.complete == trials
    seen = watch.seen()
    if simulator is not None:
        _Popen.channel.close()
        seen |= json.loads(simulator.communicate()[0])
    return seen


def in_a_process(*arguments: Any) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 16, 64, 256])
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS))
    parser.add_argument("--trials", type=int, help="of a measurement [at least 200, and 4 a worker]")
    parser.add_argument("--sampler", default="random", help="random, or tpe as in the study")
    parser.add_argument("--storage", help="as in study.yaml; a new journal for each measurement if it is left out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", choices=("simulated", "local", "ray"), default="simulated")
    parser.add_argument("--simulate", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.simulate:
        simulate(socket.socket(fileno=int(options.simulate[0])), Load(**json.loads(options.simulate[1])))
        return
    if options.one:
        workers, trials, name, *others = json.loads(options.one)
        print(json.dumps(measure(workers, trials, LOADS[name], *others)))
        return
    loads = options.loads if options.engine == "simulated" else ["no pause"]
    print("| load | workers | trials | reports a second | trials a second | driver's CPU a report, ms "
          "| a report waits: median, 99 %, longest, ms | idle |")  # fmt: skip
    for name in loads:
        for workers in options.workers:
            trials = options.trials or max(200, 4 * workers)
            others = options.sampler, options.engine, options.storage
            rows = [in_a_process(workers, trials, name, *others) for _ in range(options.rounds)]
            seen = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
            reports = REPORTS * trials
            waits = ", ".join(f"{1000 * seen[key]:.1f}" for key in ("median", "p99", "longest") if key in seen)
            idle = f"{100 * seen['idle']:.1f} %" if "idle" in seen else ""
            print(
                f"| {name} | {workers} | {trials} | {reports / seen['seconds']:.0f} | {trials / seen['seconds']:.1f} "
                f"| {1000 * seen['cpu'] / reports:.2f} | {waits} | {idle} |", flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
