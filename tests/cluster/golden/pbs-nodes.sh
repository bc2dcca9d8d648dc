#!/bin/bash
# The study mito, as `hpo submit` wrote it.
#PBS -N hpo-mito-0a1b2c
#PBS -S /bin/bash
#PBS -V
#PBS -r y
#PBS -l select=4:ncpus=32:ngpus=4
#PBS -l place=scatter
#PBS -l walltime=36:00:00
#PBS -j oe
#PBS -o /data/runs/mito/jobs/20260130-094500.log.pbs

python=/home/ann/venv/bin/python
grace=600
requeues=10
driver=("$python" -P -m hpo run /home/ann/study.yaml --runs /data/runs --set 'constants.note=it'"'"'s a '"'"'b'"'"'')

limit=0  # the time limit is near
ended=0  # the whole job is being ended from outside
trap 'ended=1' TERM  # the driver gets this signal too; a second one would end its trials at once

cd /home/ann || exit 1

say() {
    printf 'hpo submit: %(%Y-%m-%d %H:%M:%S)T %s\n' -1 "$*"
}

if [ "${1-}" != node ]; then
    exec >> /data/runs/mito/jobs/20260130-094500.log 2>&1  # PBS itself shows the output only when the job is over
fi
script=/data/runs/mito/jobs/20260130-094500.sh  # as every node sees it
requeued=0

# --- Ray over the allocation

cpus=32
job=${PBS_JOBID%%[!0-9]*}
first_port=$((20000 + job % 12000))  # another one for each job

# Only who has this token may talk to this Ray, whatever addresses it listens on.
# A new name each time: folders over a network show old files for a while.
token=${3:-/data/runs/mito/jobs/20260130-094500.token-$RANDOM$RANDOM}
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token RAY_USAGE_STATS_ENABLED=0
unset RAY_AUTH_TOKEN RAY_ADDRESS
ray_log=/data/runs/mito/jobs/20260130-094500.ray-$(hostname).log

# This node's address as host $1 sees it, unless the setup names another, such as that of a faster network.
address_towards() {
    if [ -n "${HPO_NODE_ADDRESS-}" ]; then
        echo "$HPO_NODE_ADDRESS"
        return
    fi
    "$python" -P -c 'import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect((sys.argv[1], 9))
    print(s.getsockname()[0])' "$1"
}

# The first port from $1 on that is free here.
free_port() {
    "$python" -P -c 'import socket, sys
for port in range(int(sys.argv[1]), 65536):
    with socket.socket() as s:
        try:
            s.bind(("", port))
        except OSError:
            continue
        print(port)
        break' "$1"
}

# A folder of its own: /tmp/ray may be another user's. Its sockets need a short path.
ray_folder() {
    echo "/tmp/hpo-ray-$UID-${head##*:}"
}

# Ray on this node until it is ended; all ports but the head's are such as are free.
ray_start() {
    exec "$python" -P -m ray.scripts.scripts start --block --disable-usage-stats --num-cpus="$cpus" --num-gpus=4 \
        --object-store-memory=83886080 --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0 \
        --temp-dir="$(ray_folder)" "$@" >> "$ray_log" 2>&1
}

if [ "${1-}" = node ]; then
    head=$2
    over=0
    trap 'over=1; kill "$ray" 2> /dev/null' TERM INT
    while ((!over)); do
        since=$SECONDS
        ray_start --address="$head" --node-ip-address="$(address_towards "${head%:*}")" &
        ray=$!
        wait "$ray"
        wait "$ray"  # the first one may have been ended by a signal
        # Ray gives a node 30 s to start, which are few where its files come over a busy network.
        ((SECONDS - since < 60 && SECONDS < 300)) || over=1
    done
    rm -rf "$(ray_folder)"
    exit 0
fi

started=()  # processes to end when the driver has ended

start_head() {
    local address port
    address=$(address_towards "$1")
    port=$(free_port "$first_port")
    head=$address:$port
    (umask 077 && head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$token")
    say "Ray on $nodes nodes, its head at $head"
    ray_start --head --node-ip-address="$address" --port="$port" --include-dashboard=false &
    started+=($!)
}

# shellcheck disable=SC2317  # the trap calls it
end_ray() {
    kill "${started[@]}" 2> /dev/null
    for _ in {1..20}; do
        kill -0 "${started[@]}" 2> /dev/null || break
        sleep 1
    done
    kill -KILL "${started[@]}" 2> /dev/null
    started=()
    rm -rf "$(ray_folder)" "$token"
}
trap end_ray EXIT

wait_for_nodes() {
    local waiting process
    "$python" -P -m hpo.engines.ray_nodes "$head" "$nodes" 300 &
    waiting=$!
    while kill -0 "$waiting" 2> /dev/null; do
        for process in "${started[@]}"; do
            kill -0 "$process" 2> /dev/null && continue
            say "Ray did not start on all nodes, so the study is not started; it wrote" /data/runs/mito/jobs/20260130-094500.ray-*.log
            kill "$waiting"
            exit 1
        done
        sleep 1 &
        wait "$!"
    done
    wait "$waiting" || exit 1  # it has said why
    driver+=(--set engine.name=ray --set "engine.address=$head")
}

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

# --- the study

say "job $PBS_JOBID on $(hostname): mito"
"${driver[@]}" &
pid=$!
told=0
while kill -0 "$pid" 2> /dev/null; do
    ((SECONDS < 129000)) || limit=1  # PBS sends no signal before it ends a job
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

end_ray
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
