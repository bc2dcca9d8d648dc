"""The job scripts: as they were reviewed (golden/), and right to bash and shellcheck."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hpo.cluster.job_request import JobOptions, JobRequest
from hpo.cluster.script import write
from hpo.errors import InvalidJobRequest

GOLDEN = Path(__file__).parent / "golden"

ONE = JobRequest(
    gpus=2,
    cpus=16,
    mem="64G",
    time=12 * 3600,
    partition="gpu",
    account="lab",
    extra=("--mail-type=END",),
    setup=("module load python/3.11", "export DATA=/scratch/data"),
)
SEVERAL = JobRequest(nodes=4, gpus=4, cpus=32, time=36 * 3600, grace=600, requeues=10)
CASES = [
    ("slurm", ONE.updated(JobOptions(queue="slurm"))),
    ("slurm-nodes", SEVERAL.updated(JobOptions(queue="slurm"))),
    ("pbs", ONE.updated(JobOptions(queue="pbs"))),
    ("pbs-nodes", SEVERAL.updated(JobOptions(queue="pbs"))),
]


def script(job_request: JobRequest, **changes: object) -> str:
    given = {
        "name": "hpo-mito-0a1b2c",
        "directory": Path("/data/runs/mito"),
        "stamp": "20260130-094500",
        "arguments": ["/home/ann/study.yaml", "--runs", "/data/runs", "--set", "constants.note=it's a 'b'"],
        "cwd": Path("/home/ann"),
        "python": "/home/ann/venv/bin/python",
        "needs_gpu": True,
    } | changes
    return write(job_request, **given).text  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "job_request"), CASES)
def test_scripts_are_as_they_were_reviewed(name, job_request):
    """After a change of the templates: read the new script, and put it into golden/."""
    assert script(job_request) == (GOLDEN / f"{name}.sh").read_text()


@pytest.mark.parametrize(("name", "job_request"), CASES)
def test_bash_can_read_them(name, job_request):
    subprocess.run(["bash", "-n"], input=script(job_request), text=True, check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck on this machine")
@pytest.mark.parametrize(
    ("name", "job_request"),
    [*CASES, ("least", JobRequest(queue="slurm")), ("two", JobRequest(queue="slurm", nodes=2))],
)
def test_shellcheck_finds_nothing(name, job_request):
    checked = subprocess.run(["shellcheck", "-"], input=script(job_request), capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_what_is_not_asked_for_is_left_to_the_queue():
    lines = script(JobRequest(queue="slurm")).splitlines()
    asked = [line.split()[1].partition("=")[0] for line in lines if line.startswith("#SBATCH")]
    assert asked == [
        *("--job-name", "--dependency", "--nodes", "--ntasks-per-node", "--signal", "--requeue", "--open-mode"),
        "--output",
    ]


def test_a_node_without_gpus_offers_none_to_trials():
    assert "--num-gpus=0" in script(SEVERAL.updated(JobOptions(queue="slurm", gpus=0)), needs_gpu=False)
    # Asked for in the queue's own words: Ray counts them.
    assert "--num-gpus" not in script(SEVERAL.updated(JobOptions(queue="slurm", gpus=0)), needs_gpu=True)


def test_the_time_of_pbs_must_be_known():
    with pytest.raises(InvalidJobRequest, match="--time is missing: PBS gives no notice"):
        script(JobRequest(queue="pbs"))


def test_a_time_shorter_than_its_grace_is_refused():
    with pytest.raises(
        InvalidJobRequest, match="the time is 00:05:00, and the study is to be interrupted 300 s before"
    ):
        script(JobRequest(queue="slurm", time=300, grace=300))


@pytest.mark.parametrize(("time", "grace"), [(60, 10), (3000, 300), (600, 60), (86400, 300), (None, 300)], ids=str)
def test_the_grace_is_a_tenth_of_the_time_within_limits(time, grace):
    assert JobRequest(time=time).seconds_of_grace == grace


def test_a_path_that_the_queue_cannot_take():
    with pytest.raises(InvalidJobRequest, match="cannot be written into a job script"):
        script(JobRequest(queue="slurm"), cwd=Path("/home/a\nb"))
    with pytest.raises(InvalidJobRequest, match="PBS takes no path such as /my runs/mito"):
        script(JobRequest(queue="pbs", time=3600), directory=Path("/my runs/mito"))
    assert '#SBATCH --output="/my runs 5%%/mito/jobs/' in script(
        JobRequest(queue="slurm"), directory=Path("/my runs 5%/mito")
    )
