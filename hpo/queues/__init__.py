"""Queueing systems of clusters: the script of a job that runs a study, and the jobs that were submitted.

    wishes   what a job asks for, and what a user may write
    site     the user's defaults
    script   the job script, from templates/
    slurm    sbatch, squeue; pbs: qsub, qstat
    jobs     runs/<study>/jobs/jobs.jsonl: what was submitted, and where it stands
"""

from hpo.queues.jobs import Job, jobs_of, state_of, states_of

__all__ = ["Job", "jobs_of", "state_of", "states_of"]
