"""Arguments that are passed in their own ways, and those that are left to the script."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.errors import ScaffoldError
from hpo.objective.command_line import fill_command
from hpo.scaffold.from_script import Scaffold, from_script
from hpo.scaffold.write_yaml import study_text
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec


def scaffold(tmp_path: Path, *calls: str, before: str = "") -> Scaffold:
    lines = "\n".join(f"parser.add_argument({call})" for call in calls)
    path = tmp_path / "train.py"
    path.write_text(f"import argparse\n{before}\nparser = argparse.ArgumentParser()\n{lines}\n")
    return from_script(path)


def study(tmp_path: Path, found: Scaffold) -> StudySpec:
    path = tmp_path / "study.yaml"
    path.write_text(study_text(found.draft))
    return load_spec(path)


def words(spec: StudySpec, **params: object) -> list[str]:
    return fill_command(spec.objective_ref(), params, spec.constants, 5, "/trial", 0)[2:]


def test_a_flag_is_there_or_not(tmp_path: Path) -> None:
    spec = study(
        tmp_path, scaffold(tmp_path, '"--augment", action="store_true"', '"--keep-norm", action="store_false"')
    )
    assert [one.choices for one in spec.space.parameters] == [(False, True), (True, False)]
    assert words(spec, augment=True, augment_flag="--augment", keep_norm=True) == ["--augment"]
    assert words(spec, augment=False, keep_norm=False, keep_norm_flag="--keep-norm") == ["--keep-norm"]


def test_true_and_false_as_the_script_reads_them(tmp_path: Path) -> None:
    found = scaffold(
        tmp_path,
        '"--shuffle", action=argparse.BooleanOptionalAction, default=True',
        '"--nesterov", type=lambda text: text == "True", default=False',
    )
    spec = study(tmp_path, found)
    assert [one.choices for one in spec.space.parameters] == [("--no-shuffle", "--shuffle"), ("False", "True")]
    assert spec.enqueue == ({"shuffle": "--shuffle", "nesterov": "False"},)
    assert words(spec, shuffle="--no-shuffle", nesterov="True") == ["--no-shuffle", "--nesterov", "True"]


def test_where_the_trial_belongs(tmp_path: Path) -> None:
    spec = study(tmp_path, scaffold(tmp_path, '"--lr", type=float', '"--seed", type=int', '"--out-dir", default="out"'))
    assert words(spec, learning_rate=0.1) == ["--lr", "0.1", "--seed", "5", "--out-dir", "/trial"]
    assert spec.constants == {}


def test_positional_arguments_come_first(tmp_path: Path) -> None:
    found = scaffold(tmp_path, '"--lr", type=float, default=0.1', '"folder"', '"--offset", type=float, default=-1e-5')
    spec = study(tmp_path, found)
    assert spec.constants == {"folder": "folder", "offset": -1e-5}
    # argparse takes `-1e-05` in a word of its own for an option.
    assert words(spec, learning_rate=0.1) == ["folder", "--lr", "0.1", "--offset=-1e-05"]
    assert any("folder is required" in entry.decide for entry in found.draft.constants)


def test_the_names_defaults_and_choices_of_the_script(tmp_path: Path) -> None:
    found = scaffold(
        tmp_path,
        '"-b", "--bs", "--batch", dest="batch_size", type=int, default=SIZE',
        '"--model", choices=MODELS.keys(), default="cnn"',
        '"--depth", type=int, choices=range(1, 4), default=2',
        before="SIZE = 2**5\nMODELS = {'cnn': object, 'mlp': object}",
    )
    spec = study(tmp_path, found)
    assert {one.name: one.choices for one in spec.space.parameters} == {
        "batch_size": (16, 32, 64),
        "model": ("cnn", "mlp"),
        "depth": (1, 2, 3),
    }
    assert spec.group_by == "model"
    assert words(spec, batch_size=16, model="mlp", depth=1) == ["--bs", "16", "--model", "mlp", "--depth", "1"]


def test_a_subcommand(tmp_path: Path) -> None:
    before = 'p = argparse.ArgumentParser()\nsub = p.add_subparsers()\ntest = sub.add_parser("test")\n'
    before += 'fit = sub.add_parser("train")\ntest.add_argument("--width", type=int, default=8)\n'
    path = tmp_path / "train.py"
    path.write_text(f'import argparse\n{before}fit.add_argument("--lr", type=float, default=0.1)\n')
    spec = study(tmp_path, from_script(path))
    assert words(spec, learning_rate=0.1) == ["train", "--lr", "0.1"]


LEFT = {
    '"--lr-decay", default=0.5': "has a number as its default and no type",
    '"--use-bn", type=bool, default=True': "takes every text for true",
    '"--sizes", nargs="+", type=int, default=[1, 2]': "takes several values",
    '"-v", action="count"': "action count",
}


@pytest.mark.parametrize("call", LEFT)
def test_what_is_left_to_the_script(call: str, tmp_path: Path) -> None:
    found = scaffold(tmp_path, '"--lr", type=float, default=0.1', call)
    assert any(LEFT[call] in note for note in found.draft.notes)
    assert words(study(tmp_path, found), learning_rate=0.1) == ["--lr", "0.1"]


def test_a_script_of_which_nothing_can_be_searched(tmp_path: Path) -> None:
    with pytest.raises(ScaffoldError, match="nothing that is known to be searched"):
        scaffold(tmp_path, '"--data", default="data"')


def test_unknown_numbers_are_searched_where_nothing_is_known(tmp_path: Path) -> None:
    found = scaffold(tmp_path, '"--zeal", type=float, default=0.5', '"--epochs", type=int, default=3')
    spec = study(tmp_path, found)
    assert [(one.name, one.low, one.high) for one in spec.space.parameters] == [("zeal", 0.25, 1.0)]
    assert found.draft.parameters[0].decide


LOSSES = (
    '"--loss", default="focal", choices=["bce", "focal", "GHMLoss", "dice_focal"]',
    '"--focal-gamma", type=float, default=2.0',
    '"--focal-alpha", type=float, default=0.25',
    '"--ghm-bins", type=int, default=10',
    '"--ghm-momentum", type=float, required=True',
    '"--w-seg", type=float, default=1.0',
)


def test_parameters_of_a_loss_are_searched_with_it(tmp_path: Path) -> None:
    spec = study(tmp_path, scaffold(tmp_path, *LOSSES))
    found = {(one.name, *(choice for _, choice in one.condition)) for one in spec.space.walk()}
    assert found == {
        ("loss",),
        ("focal_gamma", "focal"),
        ("focal_gamma", "dice_focal"),
        ("focal_alpha", "focal"),
        ("focal_alpha", "dice_focal"),
        ("ghm_bins", "GHMLoss"),
        ("ghm_momentum",),  # without it the script does not start
        ("w_seg",),
    }
    assert spec.enqueue == ({"loss": "focal", "focal_gamma": 2.0, "focal_alpha": 0.25, "w_seg": 1.0},)
    always = {"ghm_momentum": 0.5, "w_seg": 2.0}
    rest = ["--ghm-momentum", "0.5", "--w-seg", "2.0"]
    assert words(spec, loss="bce", **always) == ["--loss", "bce", *rest]
    focal = words(spec, loss="focal", focal_gamma=1.0, focal_alpha=0.5, **always)
    assert focal == ["--loss", "focal", "--focal-gamma", "1.0", "--focal-alpha", "0.5", *rest]
    assert words(spec, loss="GHMLoss", ghm_bins=5, **always) == ["--loss", "GHMLoss", "--ghm-bins", "5", *rest]


def test_parameters_of_losses_that_are_not_chosen_stay(tmp_path: Path) -> None:
    spec = study(tmp_path, scaffold(tmp_path, '"--loss", default="bce", choices=["bce", "dice"]', *LOSSES[1:3]))
    assert [one.condition for one in spec.space.walk()] == [(), (), ()]
