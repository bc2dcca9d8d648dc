#!/bin/bash
# The study mito, as `hpo submit` wrote it.
#PBS -N hpo-mito-0a1b2c
#PBS -S /bin/bash
#PBS -V
#PBS -r y
#PBS -l select=1:ncpus=16:ngpus=2:mem=64gb
#PBS -l walltime=12:00:00
#PBS -q gpu
#PBS -A lab
#PBS -j oe
#PBS -o /data/runs/mito/jobs/20260130-094500.log.pbs
#PBS --mail-type=END

python=/home/ann/venv/bin/python
grace=300
requeues=100
driver=("$python" -P -m hpo run /home/ann/study.yaml --runs /data/runs --set 'constants.note=it'"'"'s a '"'"'b'"'"'')

limit=0  # the time limit is near
ended=0  # the whole job is being ended from outside
trap 'ended=1' TERM  # the driver gets this signal too; a second one would end its trials at once

cd /home/ann || exit 1
module load python/3.11
export DATA=/scratch/data

say() {
    printf 'hpo submit: %(%Y-%m-%d %H:%M:%S)T %s\n' -1 "$*"
}

if [ "${1-}" != node ]; then
    exec >> /data/runs/mito/jobs/20260130-094500.log 2>&1  # PBS itself shows the output only when the job is over
fi
script=/data/runs/mito/jobs/20260130-094500.sh  # as every node sees it
requeued=0

# --- the study

say "job $PBS_JOBID on $(hostname): mito"
"${driver[@]}" &
pid=$!
told=0
while kill -0 "$pid" 2> /dev/null; do
    ((SECONDS < 42900)) || limit=1  # PBS sends no signal before it ends a job
    if ((limit && told == 0)); then
        say "the time limit is near: running trials end at their next report, within $((grace * 2 / 3)) s"
        kill -TERM "$pid"
        told=1 since=$SECONDS
    elif ((told == 1 && SECONDS - since >= grace * 2 / 3)); then
        say "trials still run: they end at once, and go on from what they saved"
        kill -TERM "$pid"
        told=2
    elif ((told == 2 && SECONDS - since >= grace * 5 / 6)); then
        say "the driver does not end: it is killed"
        kill -KILL "$pid"
        told=3
    fi
    sleep 1  # not `wait`: a signal that comes as the driver ends would cost bash its exit code
done
wait "$pid"
code=$?
case "$limit $code" in
    "1 130" | "1 137" | "1 143") verdict= ;;  # it was interrupted for the time limit
    *" 0") verdict="the study has ended" ;;
    *" 3") verdict="another driver is at work on the study: there is nothing to do for this job" ;;
    *" 4") verdict="the study was stopped or is paused: the job is not requeued" ;;
    *" 130") verdict="the study was interrupted, but not for the time limit: the job is not requeued" ;;
    *) verdict="hpo run ended with exit code $code: the job is not requeued" ;;
esac
if [ -n "$verdict" ]; then
    ((ended)) && say "the job is being ended from outside"
    say "$verdict"
    exit "$code"
fi

# --- once more, until the budget is spent

# This script, for the next time.
again() {
    sed "s/^requeued=[0-9]*\$/requeued=$((requeued + 1))/" "$script"
}

resubmit() {
    if command -v qsub > /dev/null; then
        again | qsub -W depend=afterany:"$PBS_JOBID"
    else
        again | ssh -o BatchMode=yes "$PBS_O_HOST" "$(printf 'cd %q && qsub -W depend=afterany:%q' "$PWD" "$PBS_JOBID")"
    fi
}

if ((requeued >= requeues)); then
    say "the time limit has come, and the job was requeued $requeued times already (--requeues): it is not again." \
        "What was finished is kept; hpo submit goes on"
elif next=$(resubmit); then
    printf '%s"id": "%s", "submitted": %s}\n' '{"queue": "pbs", "script": "/data/runs/mito/jobs/20260130-094500.sh", "command": "requeued by its script", ' "$next" "$(date +%s)" >> /data/runs/mito/jobs/jobs.jsonl
    say "requeued as job $next for the time that is left of the budget (number $((requeued + 1)) of at most $requeues)"
else
    say "the time limit has come, and the queue did not take the job back. What was finished is kept; hpo submit goes on"
fi
exit "$code"
