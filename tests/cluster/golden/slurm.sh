#!/bin/bash
# The study mito, as `hpo submit` wrote it.
#SBATCH --job-name=hpo-mito-0a1b2c
#SBATCH --dependency=singleton
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gres=gpu:2
#SBATCH --mem=64G
#SBATCH --time=12:00:00
#SBATCH --partition=gpu
#SBATCH --account=lab
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=/data/runs/mito/jobs/20260130-094500.log
#SBATCH --mail-type=END

python=/home/ann/venv/bin/python
grace=300
requeues=100
driver=("$python" -P -m hpo run /home/ann/study.yaml --runs /data/runs --set 'constants.note=it'"'"'s a '"'"'b'"'"'')

limit=0  # the time limit is near
ended=0  # the whole job is being ended from outside
trap 'limit=1' USR1
trap 'ended=1' TERM  # the driver gets this signal too; a second one would end its trials at once

cd /home/ann || exit 1
module load python/3.11
export DATA=/scratch/data

say() {
    printf 'hpo submit: %(%Y-%m-%d %H:%M:%S)T %s\n' -1 "$*"
}

# --- the study

say "job $SLURM_JOB_ID on $(hostname): mito"
"${driver[@]}" &
pid=$!
told=0
while kill -0 "$pid" 2> /dev/null; do
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

requeued=${SLURM_RESTART_COUNT:-0}
if ((requeued >= requeues)); then
    say "the time limit has come, and the job was requeued $requeued times already (--requeues): it is not again." \
        "What was finished is kept; hpo submit goes on"
elif scontrol requeue "$SLURM_JOB_ID" || ((ended)); then  # it may end this job before its command has said so
    say "requeued for the time that is left of the budget (number $((requeued + 1)) of at most $requeues)"
else
    say "the time limit has come, and the queue did not take the job back. What was finished is kept; hpo submit goes on"
fi
exit "$code"
