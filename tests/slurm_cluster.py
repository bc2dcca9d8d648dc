"""A real SLURM of this machine alone, for a test: munge, its controller and two nodes of one CPU each, in a folder of
its own, on ports of its own of 127.0.0.1."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "srun")
NODES = ("n1", "n2")

# A requeued job waits until its old credential has expired (2 minutes, unless told otherwise; 5 s is the least).
CONFIGURATION = """\
ClusterName=hpotest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
StateSaveLocation={folder}/state
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2
KillWait=10
ReturnToService=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs of SLURM and munge that are not here. Debian: slurm-wlm, munge; its daemons are in /usr/sbin."""
    return [program for program in PROGRAMS if _found(program) is None]


class SlurmCluster:
    """Runs until `close`, which ends its jobs and all that they started."""

    def __init__(self) -> None:
        # The sockets' paths must be short, and munge wants a folder that others may look into.
        self.folder = Path(tempfile.mkdtemp(prefix="hpo-slurm-", dir="/tmp"))
        self.folder.chmod(0o755)
        self._daemons: list[subprocess.Popen[bytes]] = []
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def environment(self) -> dict[str, str]:
        """Of what talks to this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *command: str) -> str:
        """What a command of SLURM prints."""
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env=os.environ | self.environment
        )
        assert done.returncode == 0, f"{command}: {done.stderr}\n{self.logs()}"
        return done.stdout

    def states(self) -> dict[str, str]:
        """Of all jobs that wait or run."""
        return dict(line.split() for line in self.call("squeue", "-h", "-o", "%i %T").splitlines())

    def ended_as(self, job: str) -> dict[str, str]:
        """What `scontrol show job` knows of a job, ended or not."""
        words = self.call("scontrol", "show", "job", "-o", job).split()
        return dict(word.partition("=")[::2] for word in words)

    def wait_until(self, met: Callable[[], bool], seconds: float, what: str) -> None:
        until = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < until, f"{what}: not within {seconds:g} s\n{self.states()}\n{self.logs()}"
            time.sleep(0.2)

    def processes(self) -> list[psutil.Process]:
        """All that jobs of this cluster have started, and that still is there."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                variables = process.environ()
                if variables.get("SLURM_CONF") == self.environment["SLURM_CONF"] and "SLURM_JOB_ID" in variables:
                    found.append(process)
        return found

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        with contextlib.suppress(AssertionError, OSError, subprocess.SubprocessError):
            for job in self.states():
                self.call("scancel", job)
            self.wait_until(lambda: not self.states(), 120, "the jobs end")
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        for daemon in reversed(self._daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(60)
            daemon.kill()
            daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        folder = self.folder
        (folder / "state").mkdir()
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        conf = folder / "slurm.conf"
        conf.write_text(
            CONFIGURATION.format(host=socket.gethostname(), user=getpass.getuser(), folder=folder, ports=_free_ports(3))
        )
        files: dict[str, Path | str] = {
            "key-file": key,
            "socket": "munge.socket",
            "pid-file": "munged.pid",
            "seed-file": "munge.seed",
        }
        options = [f"--{name}={folder / file}" for name, file in files.items()]
        self._daemon("munged", "--foreground", "--force", *options, f"--log-file={folder / 'munged.log'}")
        self._wait_for(folder / "munge.socket")
        self._daemon("slurmctld", "-D", "-c", "-f", str(conf))
        for node in NODES:
            self._daemon("slurmd", "-D", "-N", node, "-f", str(conf))
        until = time.monotonic() + 300
        while self._nodes() != ["idle"] * len(NODES):
            assert all(daemon.poll() is None for daemon in self._daemons), self.logs()
            assert time.monotonic() < until, self.logs()
            time.sleep(0.2)

    def _daemon(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.out").open("ab") as out:
            variables = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
            self._daemons.append(
                subprocess.Popen([str(_found(program)), *arguments], stdout=out, stderr=out, env=variables)
            )

    def _wait_for(self, path: Path) -> None:
        until = time.monotonic() + 120
        while not path.exists():
            assert self._daemons[-1].poll() is None, self.logs()
            assert time.monotonic() < until, self.logs()
            time.sleep(0.05)

    def _nodes(self) -> list[str]:
        asked = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%t"], capture_output=True, text=True, env=os.environ | self.environment
        )
        return asked.stdout.split()


def _found(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
