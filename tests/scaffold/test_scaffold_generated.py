"""Any argparse script ends in a study that is read, whatever its arguments are called and whatever their defaults."""

from __future__ import annotations

import argparse
import ast
import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.errors import ScaffoldError
from hpo.objective.command_line import fill_command
from hpo.scaffold.from_script import from_script
from hpo.scaffold.write_yaml import decisions, study_text
from hpo.spec.load import load_with_hints

KNOWN = [
    *("lr", "learning-rate", "batch-size", "weight_decay", "dropout", "momentum", "hidden-size", "n-layers", "epochs"),
    *("seed", "data", "output-dir", "optimizer", "model", "gamma", "temperature", "beta1", "max-depth", "C", "number"),
    *("directory", "constants", "include", "structural", "warmup", "loss_weight", "lr-min", "amp", "num-workers"),
]
names = st.one_of(
    st.sampled_from(KNOWN),
    st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,12}", fullmatch=True),
    st.text(
        st.characters(exclude_categories=("Cs", "Cc"), exclude_characters=" '\"\\="), min_size=1, max_size=8
    ).filter(lambda name: not name.startswith("-")),
).filter(lambda name: not hasattr(argparse.Namespace, name.replace("-", "_")))  # argparse itself fails on --__dict__
numbers = st.one_of(st.integers(-(2**60), 2**60), st.floats(), st.sampled_from([0, 0.0, 1e-3, 64, 1e-323, 1e300]))
texts = st.text(max_size=12)


@st.composite
def arguments(draw: st.DrawFn) -> str:
    """An `add_argument` call that argparse itself takes."""
    flag = f"--{draw(names)}"
    kind = draw(st.sampled_from(["int", "float", "str", "none", "flag", "choices", "boolean", "nargs", "str2bool"]))
    given: dict[str, Any] = {}
    more = ""
    if kind == "flag":
        given["action"] = draw(st.sampled_from(["store_true", "store_false"]))
    elif kind == "boolean":
        more = ", action=argparse.BooleanOptionalAction"
        given["default"] = draw(st.sampled_from([True, False, None]))
    elif kind == "choices":
        given["choices"] = draw(st.lists(st.one_of(texts, st.integers(0, 99)), min_size=1, max_size=6))
        given["default"] = draw(st.sampled_from([*given["choices"], None]))
    elif kind == "nargs":
        given |= {
            "nargs": draw(st.sampled_from(["+", "*", 2, "?"])),
            "default": draw(st.sampled_from([None, [1, 2], 3])),
        }
        more = ", type=int"
    elif kind == "str2bool":
        given["default"] = draw(st.booleans())
        more = ", type=lambda text: text == 'True'"
    else:
        more = "" if kind == "none" else f", type={kind}"
        value = {"int": st.integers(-(2**60), 2**60), "float": numbers, "str": texts, "none": st.one_of(numbers, texts)}
        if draw(st.booleans()):
            given["default"] = draw(st.one_of(value[kind], st.none()))
        else:
            given["required"] = draw(st.booleans())
    written = "".join(f", {name}={_written(value)}" for name, value in given.items())
    return f"parser.add_argument({flag!r}{more}{written})"


def _written(value: Any) -> str:
    return (
        f"float('{value}')"
        if isinstance(value, float) and (value != value or abs(value) == float("inf"))
        else repr(value)
    )


@settings(max_examples=150)
@given(st.lists(arguments(), min_size=1, max_size=8), st.sampled_from(["loss", "acc", "val_f1", "x", "größe"]))
def test_any_argparse_script_ends_in_a_study(calls: list[str], metric: str) -> None:
    text = "import argparse\nparser = argparse.ArgumentParser(allow_abbrev=False)\n"
    kept = []
    for call in calls:  # those that argparse takes beside each other
        try:
            exec(text + "\n".join([*kept, call]), {"argparse": argparse})
        except (argparse.ArgumentError, ValueError, TypeError):
            continue
        kept.append(call)
    kept.append("parser.add_argument('--some-amount', type=float, default=0.1)")
    text += "\n".join(
        [*kept, "args = parser.parse_args()", "for epoch in range(3):", f"    print('{metric}', args.{{}})", ""]
    )
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "run it.py")
        script.write_text(text.replace("args.{}", "args.some_amount"), encoding="utf-8")
        try:
            found = from_script(script)
        except ScaffoldError as error:
            raise AssertionError(f"{error}\n{text}") from error
        study = Path(folder, "study.yaml")
        study.write_text(study_text(found.draft), encoding="utf-8")
        spec, _ = load_with_hints(study)
        decisions(study.read_text(encoding="utf-8"))
        for edit in found.edits:
            ast.parse(edit.text)
        # argparse takes the command lines of the first trials.
        parser_text = "\n".join(["import argparse", "parser = argparse.ArgumentParser(allow_abbrev=False)", *kept])
        held: dict[str, Any] = {"argparse": argparse}
        exec(parser_text, held)
        for params in [spec.space.sample(random.Random(seed)) for seed in range(3)]:
            command = fill_command(spec.objective_ref(), params, spec.constants, 1, folder, 0)
            held["parser"].parse_args(command[2:])
