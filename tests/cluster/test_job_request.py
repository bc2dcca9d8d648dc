"""What may be asked of a queue, and how the queues write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hpo.cluster.job_request import JobOptions, JobRequest, days, hours
from hpo.validation import problems_in


def read(name, value):
    """The value of an option as it is kept; ValueError with the sentence that refuses it."""
    try:
        return getattr(JobOptions.model_validate({name: value}), name)
    except ValidationError as error:
        (problem,) = problems_in(error, JobOptions)
        assert problem[0][:1] == (name,)
        raise ValueError(problem[1]) from None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12:00:00", 43200), ("00:01:00", 60), ("1-12:00:30", 129630), ("90m", 5400), ("12h", 43200), ("2d", 172800)],
)
def test_times_that_mean_one_thing(text, seconds):
    assert read("time", text) == seconds


# 90 and 12:00 would be minutes to SLURM, seconds to PBS.
@pytest.mark.parametrize("text", ["90", "12:00", "0:00:00", "1:60:00", "noon", "-1h", "h", 90, True])
def test_times_that_do_not(text):
    with pytest.raises(ValueError, match="is not right; expected a time such as 12:00:00"):
        read("time", text)


@given(st.integers(1, 10**7))
def test_a_time_is_read_back_as_it_was_written(seconds):
    assert read("time", hours(seconds)) == seconds
    assert read("time", days(seconds)) == seconds


@pytest.mark.parametrize(("text", "kept"), [("64G", "64G"), ("512m", "512M"), ("1TB", "1T"), ("8GiB", "8G")])
def test_memory(text, kept):
    assert read("mem", text) == kept


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("mem", "64", "memory of a node such as 64G"),
        ("nodes", 0, "a number of nodes, 1 or more"),
        ("nodes", True, "a number of nodes, 1 or more"),
        ("gpus", -1, "0 or more"),
        ("gpus", "2", "a number of GPUs of each node"),
        ("partition", "gpu; rm -rf /", "a name, without spaces"),
        ("account", "a\nb", "a name, without spaces"),
        ("extra", "qos=long", "options of the queue as they are typed"),
        ("setup", [1], "a list of lines"),
        ("queue", "slrum", "slurm or pbs. Did you mean 'slurm'?"),
        ("grace", 5, "seconds, 10 or more"),
    ],
)
def test_what_is_refused_says_what_is_expected(name, value, expected):
    with pytest.raises(ValueError, match="is not right") as error:
        read(name, value)
    assert expected in str(error.value)


def test_options_of_the_queue_are_added_and_others_take_the_place_of_what_was():
    site = JobRequest().updated(JobOptions(extra=("--qos=long",), gpus=1, partition="gpu"))
    request = site.updated(JobOptions(extra=("--exclusive",), gpus=4))
    assert request == JobRequest(extra=("--qos=long", "--exclusive"), gpus=4, partition="gpu")
