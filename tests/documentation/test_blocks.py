"""Every block and command of the pages is of a kind, and right as far as can be seen without running it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hpo.cluster.job_request import JobOptions
from hpo.errors import SpecError
from hpo.spec.load import KEYS, load_spec
from hpo.spec.yaml_document import dump, load_text

from .blocks import KINDS, OWN_TESTS, ROOT, Block, blocks_of, name_of, pages, spans_of
from .command_line import fault, words_of

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
HOW = "tests/documentation/blocks.py lists the kinds"

# The study that a page's keys belong to, where it shows only some: all that conditions and commands of pages name.
STUDY: dict[str, Any] = {
    "name": "shown",
    "objective": "train.py:train",
    "metrics": [{"name": "val_average_precision", "direction": "maximize"}],
    "search_space": {
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
        "base_width": {"choices": [4, 8]},
        "unfreeze_epoch": {"low": 2, "high": 6},
    },
    "budget": {"trials": 4},
}


def of_kind(kind: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind == kind]


def places(blocks: list[Block]) -> list[str]:
    return [block.place for block in blocks]


def loads(folder: Path, study: dict[str, Any]) -> None:
    """Load a study whose objective, whatever it is, is there; a mistake of the page is raised."""
    objective = str(study.get("objective", ""))
    if objective and not objective.startswith("objectives."):
        place, _, function = objective.partition(":")
        path = folder / (place if place.endswith(".py") else place.replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(f"def {function}(trial):\n    return {{}}\n")
    for word in study.get("command", ()):
        if str(word).endswith(".py"):
            (folder / word).touch()
    for choice in study["search_space"].get("loss", {}).get("choices", {}):
        if ":" in str(choice):
            (folder / f"{choice.partition(':')[0]}.py").touch()
    (folder / "study.yaml").write_text(dump(study))
    load_spec(folder / "study.yaml")


def alternatives(block: Block) -> list[Any]:
    """Return what a block holds; of one that writes a key several times, a line a key, each time by itself."""
    keys = re.findall(r"^([\w-]+):", block.text, re.MULTILINE)
    texts = [block.text] if len(keys) == len(set(keys)) else [line for line in block.text.splitlines() if line.strip()]
    documents = [load_text(text, block.place) for text in texts]
    assert [problem for document in documents for problem in document.problems] == []
    return [document.data for document in documents]


def test_every_block_has_a_kind() -> None:
    other = [block for block in BLOCKS if block.kind not in KINDS and not block.kind.startswith("{")]
    said = [
        f"{block.place}: a block of kind '{block.kind}'; write one of {', '.join(KINDS)} behind the fence"
        for block in other
    ]
    assert said == [], f"{HOW}"


def test_what_is_not_run_says_why() -> None:
    kinds = ("python", "console", "yaml")
    short = [block for block in BLOCKS if block.not_run and (len(block.not_run) < 10 or block.kind not in kinds)]
    assert places(short) == [], f"say the reason in a sentence: <!-- not run: it needs a GPU -->; {HOW}"


def test_pages_with_a_test_of_their_own_have_it() -> None:
    for page, test in OWN_TESTS.items():
        assert (ROOT / page).exists()
        assert Path(page).name in (ROOT / test).read_text()


@pytest.mark.parametrize("block", of_kind("console"), ids=lambda block: block.place)
def test_commands_are_right(block: Block) -> None:
    assert block.commands, f"no line begins with '$ '; commands do, and what is printed alone is of kind text. {HOW}"
    wrong = [(command, fault(words, whole=True)) for command in block.commands for words in words_of(command)]
    assert [f"{command}: {said}" for command, said in wrong if said] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_text_are_right(page: Path) -> None:
    said = [f"`{span}`: {fault(words, whole=False)}" for span in spans_of(page) for words in words_of(span)]
    assert [one for one in said if not one.endswith(": ")] == []


@pytest.mark.parametrize("block", of_kind("python"), ids=lambda block: block.place)
def test_python_compiles(block: Block) -> None:
    text = block.text
    if block.not_run and re.search(r"^return\b", text, re.MULTILINE):  # the inside of a function
        text = "def function():\n" + "".join(f"    {line}\n" for line in text.splitlines())
    compile(text, block.place, "exec")


@pytest.mark.parametrize("block", of_kind("json"), ids=lambda block: block.place)
def test_json_is_right(block: Block) -> None:
    try:
        json.loads(block.text)
    except json.JSONDecodeError:
        for line in block.text.splitlines():
            json.loads(line)


@pytest.mark.parametrize("block", of_kind("yaml"), ids=lambda block: block.place)
def test_yaml_is_what_hpo_reads(block: Block, tmp_path: Path) -> None:
    for data in alternatives(block):
        if block.not_run or data is None:  # None: comments alone
            continue
        if isinstance(data, list):
            loads(tmp_path, STUDY | {"red_flags": data})
        elif set(data) <= set(JobOptions.model_fields):
            JobOptions.model_validate(data)
        elif {"metrics", "search_space", "budget"} <= set(data):
            loads(tmp_path, data)
        elif set(data) <= set(KEYS):
            study = {key: value for key, value in STUDY.items() if key != "objective" or "command" not in data}
            loads(tmp_path, study | data)
        else:
            loads(tmp_path, STUDY | {"search_space": data})


def test_a_block_that_is_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above rest on, with a page that has one fault of each sort."""
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: it needs a cluster -->\n\n```console\n$ hpo run s.yaml --trails 3 | tail  # a typo\nprinted\n"
        "```\n"
        "- item\n\n  ```python\n  # task.py, continued\n  x = 1\n  ```\n<!-- setup\nhpo run one\nhpo run two\n-->\n"
        "```console\nnode1$ hpo rnu \\\n  x.yaml\n$ make nothing\n```\n`hpo status --al`, `hpo COMMAND --help`\n"
    )
    console, python, last = blocks_of(page)
    assert (console.line, console.not_run, console.commands[0][:7]) == (3, "it needs a cluster", "hpo run")
    assert (python.text, python.file, python.continues) == ("# task.py, continued\nx = 1\n", "task.py", True)
    assert (last.setup, last.not_run) == ("hpo run one\nhpo run two", "")
    assert words_of(console.commands[0]) == [["hpo", "run", "s.yaml", "--trails", "3"], ["tail"]]
    said = [fault(words, whole=True) for block in (console, last) for one in block.commands for words in words_of(one)]
    assert said[0].startswith("No such option '--trails'")
    assert said[1] == ""
    assert said[2] == "there is no command 'hpo rnu'. Did you mean 'run'?"
    assert said[3] == "the Makefile has no target 'nothing'"
    mentions = [fault(words_of(span)[0], whole=False) for span in spans_of(page)]
    assert mentions == ["'hpo status' has no option '--al'.", ""] or mentions[0].startswith(
        "'hpo status' has no option"
    )
    with pytest.raises(SpecError, match="lerning_rate"):
        loads(tmp_path, STUDY | {"enqueue": [{"lerning_rate": 0.1}]})
