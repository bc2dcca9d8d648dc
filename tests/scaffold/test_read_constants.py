"""Constants of scripts without a command line, and the lines that read them from the trial."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.errors import ScaffoldError
from hpo.scaffold.from_script import from_script
from hpo.scaffold.python_source import Script
from hpo.scaffold.read_constants import read_constants

RATE = 'hpo.current_trial().params.get("learning_rate", 1e-3)'


def script(folder: Path, text: str) -> Path:
    path = folder / "train.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("LR = 1e-3", f"LR = {RATE}"),
        ("class CFG:\n    lr = 1e-3", f"    lr = {RATE}"),
        ("class CFG: lr = 1e-3", f"class CFG: lr = {RATE}"),
        ("@dataclass\nclass TrainConfig:\n    lr: float = 1e-3", f"    lr: float = {RATE}"),
        ("class hparams(object):\n    '''All.'''\n    a, lr = 1, 1e-3", f"    a, lr = 1, {RATE}"),
        ("class Args(NamedTuple):\n    LR: float = 1e-3  # x", f"    LR: float = {RATE}  # x"),
        ("config = {'lr': 1e-3}", f"config = {{'lr': {RATE}}}"),
        ("wandb.init(config=dict(lr=1e-3))", f"wandb.init(config=dict(lr={RATE}))"),
        ("lr = 1e-3", f"lr = {RATE}"),
        ("if __name__ == '__main__':\n    lr = 1e-3", f"    lr = {RATE}"),
    ],
)
def test_the_line_that_reads_a_constant(text: str, line: str, tmp_path: Path) -> None:
    scaffold = from_script(script(tmp_path, f"{text}\nfor epoch in range(3):\n    print(f'loss {{loss}}')\n"))
    (entry,) = scaffold.draft.parameters
    assert (entry.name, entry.default) == ("learning_rate", 1e-3)
    assert line in scaffold.edits[0].text.splitlines()


@pytest.mark.parametrize(
    "text",
    [
        "class Net:\n    lr = 1e-3",  # no configuration
        "class CFG:\n    lr = 1e-3\n    lr = 1e-2",  # which?
        "class CFG:\n    def f(self):\n        lr = 1e-3",
        "def f():\n    class CFG:\n        lr = 1e-3",
        "lr = 1e-3\nlr = 2 * lr",
        "class CFG:\n    lr = rate()",
    ],
)
def test_what_is_no_constant(text: str, tmp_path: Path) -> None:
    with pytest.raises(ScaffoldError, match="nothing that is known to be searched"):
        from_script(script(tmp_path, text))


def test_names_in_upper_case_come_before_a_class_and_a_class_before_a_dict(tmp_path: Path) -> None:
    parts = ["LEARNING_RATE = 0.1", "class Config:\n    dropout = 0.2", "config = {'weight_decay': 1e-4}", "lr = 0.3"]
    for first, name in enumerate(("LEARNING_RATE", "dropout", "weight_decay", "lr")):
        found = read_constants(Script(script(tmp_path, "\n".join(parts[first:]))))
        assert [setting.name for setting in found.settings] == [name]


def test_constants_are_searched_beside_arguments_that_are_not(tmp_path: Path) -> None:
    """Then no number of the command line is searched for want of others."""
    text = """
        import argparse
        class CFG:
            lr = 1e-3
        parser = argparse.ArgumentParser()
        parser.add_argument("--gpu", type=int, default=0)
        parser.add_argument("--some-amount", type=float, default=0.1)
    """
    scaffold = from_script(script(tmp_path, text))
    assert [entry.name for entry in scaffold.draft.parameters] == ["learning_rate"]
    assert f"    lr = {RATE}" in scaffold.edits[0].text.splitlines()
    scaffold = from_script(script(tmp_path, text.replace("lr = 1e-3", "name = 'x'")))
    assert "some_amount" in [entry.name for entry in scaffold.draft.parameters]
    assert scaffold.edits == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("opt = AdamW(model.parameters(), lr=1e-3)", f"opt = AdamW(model.parameters(), lr={RATE})"),
        ("opt = torch.optim.SGD(net, lr = 1e-3,)", f"opt = torch.optim.SGD(net, lr = {RATE},)"),
        ("def main():\n    lr = 1e-3\n    Adam(p, lr=lr)", f"    lr = {RATE}"),
        ("async def main():\n    learning_rate: float = 1e-3", f"    learning_rate: float = {RATE}"),
        ("def main():\n    model.compile(optimizer=Adam(learning_rate=1e-3))",
         f"    model.compile(optimizer=Adam(learning_rate={RATE}))"),
        ("class Net(nn.Module):\n    pass\nNet(learning_rate=1e-3)", f"Net(learning_rate={RATE})"),
        ("model.fit(x, learning_rate=1e-3, validation_split=0.2)",
         f"model.fit(x, learning_rate={RATE}, validation_split=0.2)"),
        ("XGBClassifier(learning_rate=1e-3).fit(x, y)", f"XGBClassifier(learning_rate={RATE}).fit(x, y)"),
        ("a = TrainingArguments('out', learning_rate=1e-3)", f"a = TrainingArguments('out', learning_rate={RATE})"),
    ],
)  # fmt: skip
def test_what_stands_in_a_function_or_in_a_call_is_read_too(text: str, line: str, tmp_path: Path) -> None:
    test_the_line_that_reads_a_constant(text, line, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "plt.bar(x, y, width=0.5, alpha=0.3)",  # not the width of a network
        "BatchNorm2d(8, momentum=0.1)",
        "Adam(p, lr=rate())",
        "class Toy(Dataset):\n    pass\nToy(features=10)",
        "Adam(p, amsgrad=True)",
        "DataLoader(val_set, batch_size=64)",
        "test_loader = DataLoader(x, batch_size=64)",
        "Adam(**{'lr': 1e-3})",
        "print(f'{Adam(p, lr=1e-3)}')",  # Python 3.11 does not tell its place
        "def f():\n    lr = 1e-3\ndef g():\n    lr = 1e-2",  # which?
        "class Net:\n    def f(self):\n        lr = 1e-3",
    ],
)
def test_calls_and_functions_that_hold_nothing_to_search(text: str, tmp_path: Path) -> None:
    test_what_is_no_constant(text, tmp_path)


def test_keywords_of_one_value_are_one_parameter_and_others_two(tmp_path: Path) -> None:
    text = """
        loaders = [DataLoader(a, batch_size=16), DataLoader(b, batch_size=16), DataLoader(val, batch_size=16)]
        one, two, three = Adam(p, lr=1e-3), Adam(q, lr=2e-3), Adam(r, lr=3e-3)
    """
    scaffold = from_script(script(tmp_path, text))
    assert [(entry.name, entry.default) for entry in scaffold.draft.parameters] == [
        ("batch_size", 16),
        ("learning_rate", 1e-3),
        ("learning_rate_2", 2e-3),
        ("learning_rate_3", 3e-3),
    ]
    size = 'hpo.current_trial().params.get("batch_size", 16)'
    assert scaffold.edits[0].text.splitlines()[-2:] == [
        f"loaders = [DataLoader(a, batch_size={size}), DataLoader(b, batch_size={size}), "
        "DataLoader(val, batch_size=16)]",
        f"one, two, three = Adam(p, lr={RATE}), "
        'Adam(q, lr=hpo.current_trial().params.get("learning_rate_2", 2e-3)), '
        'Adam(r, lr=hpo.current_trial().params.get("learning_rate_3", 3e-3))',
    ]  # fmt: skip


def test_a_folder_is_that_of_the_trial_unless_it_is_absolute_and_a_seed_stays(tmp_path: Path) -> None:
    text = "LR = 1e-3\nOUTPUT_DIR = 'out/'\nCHECKPOINT_DIR = '/scratch'\nSEED = 3\n"
    scaffold = from_script(script(tmp_path, text))
    lines = scaffold.edits[0].text.splitlines()
    assert lines[1:] == [
        f"LR = {RATE}",
        "OUTPUT_DIR = f\"{hpo.current_trial().directory}/\" + 'out/'",
        "CHECKPOINT_DIR = '/scratch'",
        "SEED = 3",
    ]
    assert ("OUTPUT_DIR", "in the trial's folder") in scaffold.roles
    assert any(one.startswith("CHECKPOINT_DIR is '/scratch', into which all") for one in scaffold.draft.decide)
    assert any(one.startswith("SEED stays 3 in all trials") for one in scaffold.draft.notes)


def test_by_hand_a_folder_is_the_one_that_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scaffold = from_script(script(tmp_path, "import json\nLR = 1e-3\nOUT_DIR = 'out/'\n"))
    monkeypatch.chdir(tmp_path)
    held: dict[str, str] = {}
    exec(scaffold.edits[0].text, {}, held)
    assert held["LR"] == 1e-3
    assert Path(held["OUT_DIR"] + "model.pt").resolve() == tmp_path / "out" / "model.pt"  # as scripts write it


CALLED = ("AdamW", "SGD", "DataLoader", "FocalLoss", "XGBClassifier", "other")
KEYWORDS = st.dictionaries(
    st.sampled_from(["lr", "weight_decay", "momentum", "batch_size", "gamma", "output_dir", "num_workers", "x"]),
    st.one_of(st.integers(1, 512), st.floats(1e-8, 1e3), st.booleans(), st.text(max_size=4), st.none()),
    max_size=4,
)
Calls = list[tuple[tuple[object, ...], dict[str, object]]]


def called_by(text: str) -> Calls:
    """What the calls of a script are given."""
    got: Calls = []
    held = {name: lambda *args, **words: got.append((args, words)) for name in CALLED}
    exec(compile(text, "train.py", "exec"), held)
    return got


@given(
    calls=st.lists(st.tuples(st.sampled_from(CALLED), KEYWORDS), max_size=4),
    before=st.sampled_from(["", "\N{GREEK SMALL LETTER ALPHA}\N{MATHEMATICAL BOLD SMALL A}", "\t", "'"]),
)
def test_by_hand_every_call_gets_what_it_got(
    calls: list[tuple[str, dict[str, object]]], before: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = ["AdamW(lr=1e-3)"]
    for name, words in calls:
        written = ", ".join(f"{key}={value!r}" for key, value in words.items())
        lines.append(f"note = {before!r}; {name}(*[note], {written})")
    path = script(tmp_path_factory.mktemp("calls"), "\n".join(lines) + "\n")
    before_and_after = zip(called_by(path.read_text("utf-8")), called_by(from_script(path).edits[0].text), strict=True)
    for (args, words), (other_args, other_words) in before_and_after:
        assert args == other_args
        assert words.keys() == other_words.keys()
        for key, value in words.items():
            other = other_words[key]  # of a folder it begins with that of the trial, which is "." by hand
            assert other == value or (key == "output_dir" and Path(str(other)) == Path(str(value)))


def test_a_fit_with_validation_trains_in_batches(tmp_path: Path) -> None:
    found = read_constants(Script(script(tmp_path, "model.fit(x, y, epochs=3, batch_size=32, validation_split=0.2)")))
    assert {setting.name.partition(".")[2]: setting.value for setting in found.settings} == {
        "epochs": 3,
        "batch_size": 32,
    }
