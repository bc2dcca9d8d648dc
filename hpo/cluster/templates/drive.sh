# --- the study

say "job {{ job_id }} on $(hostname): {{ study }}"
"${driver[@]}" &
pid=$!
told=0
while kill -0 "$pid" 2> /dev/null; do
{% if not limit_by_signal %}
    ((SECONDS < {{ request.time - grace }})) || limit=1  # PBS sends no signal before it ends a job
{% endif %}
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
