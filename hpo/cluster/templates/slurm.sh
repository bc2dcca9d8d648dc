#!/bin/bash
# The study {{ study }}, as `hpo submit` wrote it.
#SBATCH --job-name={{ name }}
#SBATCH --dependency=singleton
#SBATCH --nodes={{ request.nodes }}
#SBATCH --ntasks-per-node=1
{% if request.cpus %}
#SBATCH --cpus-per-task={{ request.cpus }}
{% endif %}
{% if request.gpus %}
#SBATCH --gres=gpu:{{ request.gpus }}
{% endif %}
{% if request.mem %}
#SBATCH --mem={{ request.mem }}
{% endif %}
{% if request.time %}
#SBATCH --time={{ request.time | days }}
{% endif %}
{% if request.partition %}
#SBATCH --partition={{ request.partition }}
{% endif %}
{% if request.account %}
#SBATCH --account={{ request.account }}
{% endif %}
#SBATCH --signal=B:USR1@{{ grace }}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={{ log | directive }}
{% for option in request.extra %}
#SBATCH {{ option }}
{% endfor %}

{% include "job.sh" %}

{% if request.nodes > 1 %}
# --- Ray over the allocation

script={{ script | quote }}  # as every node sees it
nodes=$SLURM_JOB_NUM_NODES
cpus=$SLURM_CPUS_ON_NODE
first_port=$((20000 + SLURM_JOB_ID % 12000))  # another one for each job

{% include "ray.sh" %}

second=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 2p)
second=$(scontrol show node "$second" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
start_head "$second"
srun --nodes=$((nodes - 1)) --relative=1 --ntasks=$((nodes - 1)) --ntasks-per-node=1 --cpus-per-task="$cpus" {{ "--gres=gpu:%s " % request.gpus if request.gpus else "" }}\
    --kill-on-bad-exit=0 bash "$script" node "$head" "$token" &
started+=($!)
wait_for_nodes

{% endif %}
{% include "drive.sh" %}

# --- once more, until the budget is spent

{% if request.nodes > 1 %}
end_ray
{% endif %}
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
