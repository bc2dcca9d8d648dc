python={{ python | quote }}
grace={{ grace }}
requeues={{ request.requeues }}
driver=("$python" -P -m hpo run {{ arguments }})

limit=0  # the time limit is near
ended=0  # the whole job is being ended from outside
{% if limit_by_signal %}
trap 'limit=1' USR1
{% endif %}
trap 'ended=1' TERM  # the driver gets this signal too; a second one would end its trials at once

cd {{ cwd | quote }} || exit 1
{% for line in request.setup %}
{{ line }}
{% endfor %}
{% if package_folder %}
export PYTHONPATH={{ package_folder | quote }}${PYTHONPATH:+:$PYTHONPATH}
{% endif %}

say() {
    printf 'hpo submit: %(%Y-%m-%d %H:%M:%S)T %s\n' -1 "$*"
}
