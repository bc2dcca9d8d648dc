#!/bin/bash
# The study {{ study }}, as `hpo submit` wrote it.
#PBS -N {{ name }}
#PBS -S /bin/bash
#PBS -V
#PBS -r y
#PBS -l select={{ request.nodes }}:ncpus={{ request.cpus or 1 }}{{ ":ngpus=%s" % request.gpus if request.gpus else "" }}{{ ":mem=%sb" % (request.mem | lower) if request.mem else "" }}
{% if request.nodes > 1 %}
#PBS -l place=scatter
{% endif %}
#PBS -l walltime={{ request.time | hours }}
{% if request.partition %}
#PBS -q {{ request.partition }}
{% endif %}
{% if request.account %}
#PBS -A {{ request.account }}
{% endif %}
#PBS -j oe
#PBS -o {{ log }}.pbs
{% for option in request.extra %}
#PBS {{ option }}
{% endfor %}

{% include "job.sh" %}

if [ "${1-}" != node ]; then
    exec >> {{ log | quote }} 2>&1  # PBS itself shows the output only when the job is over
fi
script={{ script | quote }}  # as every node sees it
requeued=0

{% if request.nodes > 1 %}
# --- Ray over the allocation

cpus={{ request.cpus or 1 }}
job=${PBS_JOBID%%[!0-9]*}
first_port=$((20000 + job % 12000))  # another one for each job

{% include "ray.sh" %}

mapfile -t hosts < <(sort -u "$PBS_NODEFILE" | grep -vxF "$(sed -n 1p "$PBS_NODEFILE")")
nodes=$((1 + ${#hosts[@]}))
start_head "${hosts[0]}"
for host in "${hosts[@]}"; do
    if command -v pbsdsh > /dev/null; then
        line=$(grep -nxF "$host" "$PBS_NODEFILE" | sed -n '1s/:.*//p')
        pbsdsh -n $((line - 1)) -- /bin/bash "$script" node "$head" "$token" &
    else
        ssh -o BatchMode=yes "$host" "$(printf '/bin/bash %q node %q %q' "$script" "$head" "$token")" < /dev/null &
    fi
    started+=($!)
done
wait_for_nodes

{% endif %}
{% include "drive.sh" %}

# --- once more, until the budget is spent

{% if request.nodes > 1 %}
end_ray
{% endif %}
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
    printf '%s"id": "%s", "submitted": %s}\n' {{ record | quote }} "$next" "$(date +%s)" >> {{ jobs_file | quote }}
    say "requeued as job $next for the time that is left of the budget (number $((requeued + 1)) of at most $requeues)"
else
    say "the time limit has come, and the queue did not take the job back. What was finished is kept; hpo submit goes on"
fi
exit "$code"
