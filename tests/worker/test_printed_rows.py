"""JSON lines among all that a program prints."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Iterable

import pytest

from hpo.worker.printed_rows import MOST_BYTES, Lines, NotJson, Row, RowReader


def row(line: str | bytes, names: Iterable[str] = ("val_loss",)) -> Row | None:
    return RowReader(tuple(names)).printed(line if isinstance(line, bytes) else line.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("line", "step", "metrics"),
    [
        ('{"step": 1, "val_loss": 0.5}', 1, {"val_loss": 0.5}),
        ('{"epoch": 1.0, "val_loss": 1}', 1, {"val_loss": 1.0}),
        ('{"epoch": "12", "val_loss": 1}', 12, {"val_loss": 1.0}),
        ('{"step": 1e3, "val_loss": 1}', 1000, {"val_loss": 1.0}),
        ('{"step": 7, "epoch": 2, "val_loss": 1}', 7, {"epoch": 2.0, "val_loss": 1.0}),
        ('{"step": 0.5, "epoch": 2, "val_loss": 1}', 2, {"val_loss": 1.0}),
        ('{"step": null, "epoch": 2, "val_loss": 1}', 2, {"val_loss": 1.0}),
        ('{"step": 1, "val": {"loss": 0.1, "by": {"class": {"0": 1}}}}', 1, {"val.loss": 0.1, "val.by.class.0": 1.0}),
        ('{"step": 1, "val_loss": true, "ok": 2, "name": "a", "list": [1]}', 1, {"ok": 2.0}),
        ('{"step": 1, "val_loss": 1, "val_loss": 2}', 1, {"val_loss": 2.0}),
        ('{"step": 1, "val_loss": Infinity}', 1, {"val_loss": math.inf}),
        ('{"step": 1, "val_loss": "-Infinity"}', 1, {"val_loss": -math.inf}),
        ('{"step": 1, "val_loss": 1e400}', 1, {"val_loss": math.inf}),
        (f'{{"step": 1, "val_loss": {10**400}}}', 1, {"val_loss": math.inf}),
        (f'{{"step": 1, "val_loss": {"9" * 5000}}}', 1, {"val_loss": math.inf}),
        ('{"val_loss": 0.5}', None, {"val_loss": 0.5}),
        ('\x1b[32m{"step": 1,\x1b[0m "val_loss": 0.5}\x1b[0m\x1b]0;title\x07', 1, {"val_loss": 0.5}),
        ('INFO:root:{"step": 1, "val_loss": 0.5}', 1, {"val_loss": 0.5}),
        ('2026-01-01 {train} [rank0]: {"step": 1, "val_loss": 0.5}  ', 1, {"val_loss": 0.5}),
        ('\ufeff{"step": 1, "val_loss": 0.5}', 1, {"val_loss": 0.5}),
        ('{"step": 1, "val_loss": 0.5} 12%|#  | 3/25', 1, {"val_loss": 0.5}),
        (' 12%|#  | 3/25 [00:01<00:09]{"step": 1, "val_loss": 0.5}', 1, {"val_loss": 0.5}),
        ('{"step": 1, "\\ud800": 1, "a\\nb": 2}', 1, {"\\ud800": 1.0, "a\\nb": 2.0}),
        (b'\xff\xfe{"step": 1, "val_loss": 0.5}\x00', 1, {"val_loss": 0.5}),
        (b'{"step": 1, "val_loss\xff": 0.5}', 1, {"val_loss\N{REPLACEMENT CHARACTER}": 0.5}),
    ],
)
def test_numbers_count_and_their_step(line: str | bytes, step: int | None, metrics: dict[str, float]) -> None:
    found = row(line)
    assert found is not None
    assert (found.step, found.wrong_step, found.metrics) == (step, "", metrics)


@pytest.mark.parametrize(
    "step",
    [
        "-1",
        "0.5",
        "9007199254740994",
        "1e300",
        "1e400",
        "NaN",
        '"one"',
        '"1.5"',
        '"-1"',
        "true",
        "[1]",
        '{"a": 1}',
        '"²"',
    ],
)
def test_what_is_no_step(step: str) -> None:
    found = row(f'{{"step": {step}, "val_loss": 0.5}}')
    assert found is not None
    assert found.step is None
    assert found.wrong_step.startswith("step ")


@pytest.mark.parametrize(
    "line",
    [
        "epoch 3",
        "",
        "[1, 2]",
        "loss {x} of {y}",
        '"a": {',
        "{",
        "{}",
        'said {"a": 1} to me',
        "\x00\x00",
        "{name}: 3",
        "12",
    ],
)
def test_text_is_no_row(line: str) -> None:
    assert row(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "{'step': 1, 'val_loss': 0.5}",
        '{"step": 1, "val_loss": 0.5,}',
        '{"step": 1, "val_loss": 0.5}12%',
        '{"a": ' * 100_000,
        '{"step": 1, "a": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"step": 1, "val_loss\x00": 0.5}',
    ],
)
def test_what_looks_like_json_and_is_none(line: str) -> None:
    with pytest.raises(NotJson):
        row(line)


def test_null_is_nan_of_what_is_a_number_elsewhere() -> None:
    reader = RowReader(("val_loss",))

    def metrics(line: str) -> dict[str, float]:
        found = reader.printed(line.encode())
        assert found is not None
        return found.metrics

    assert math.isnan(metrics('{"step": 1, "val_loss": 0.5, "grad_norm": null}')["grad_norm"])
    assert math.isnan(metrics('{"step": 1, "val_loss": null}')["val_loss"])
    assert metrics('{"step": 0, "event": null}') == {}
    assert metrics('{"step": 0, "val_loss": 1, "error": "no disk"}') == {"val_loss": 1.0}
    assert metrics('{"step": 1, "val_loss": 1, "error": null}') == {"val_loss": 1.0}


def test_names_of_no_end_are_left_out() -> None:
    deep: dict[str, object] = {"loss": 1.0}
    for _ in range(200):
        deep = {"level": deep}
    found = row(json.dumps({"step": 1, "val_loss": 1.0, "": 2.0, "self": 2.0, "x" * 300: 3.0, **deep}))
    assert found is not None
    assert found.metrics == {"val_loss": 1.0}


def lines_of(*chunks: bytes) -> tuple[list[bytes], int]:
    dropped = []
    lines = Lines(lambda: dropped.append(1))
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    return [*found, *lines.rest()], len(dropped)


def test_a_carriage_return_ends_what_it_overwrites() -> None:
    assert lines_of(b' 10%|#\r 20%|##\r{"step": 1}\r\n', b"a\n\nb") == (
        [b" 10%|#", b" 20%|##", b'{"step": 1}', b"a", b"b"],
        0,
    )


def test_a_line_may_come_in_any_pieces() -> None:
    whole = b'one\r\n{"step": 1}\rtwo\n\nthree'
    for cut in range(len(whole)):
        assert lines_of(whole[:cut], whole[cut:]) == lines_of(whole)
    assert lines_of(*(bytes([byte]) for byte in whole)) == lines_of(whole)


def test_a_line_without_an_end_is_dropped_in_linear_time_and_little_memory() -> None:
    """Quadratic time would be hours: each of a thousand chunks copied with all that came before."""
    chunk = b"x" * 65536
    tracemalloc.start()
    found, dropped = lines_of(*(chunk for _ in range(1000)), b'\n{"step": 1}\n')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found, dropped) == ([b'{"step": 1}'], 1)
    assert peak < 4 * MOST_BYTES


def test_the_longest_line_is_read_and_a_longer_one_is_not() -> None:
    longest = b"x" * MOST_BYTES
    assert lines_of(longest, b"\nnext") == ([longest, b"next"], 0)
    assert lines_of(longest, b"x", b"\nnext") == ([b"next"], 1)
    assert lines_of(longest, b"x", b"y\r", b"next") == ([b"next"], 1)
