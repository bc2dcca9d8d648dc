"""Fenced blocks of the pages, each of a kind, so that none is only looked at.

| kind | what the tests do with it |
|---|---|
| `yaml` | a study, or keys of one, is loaded as `hpo check` does; a profile of a queue as `hpo submit` does |
| `python` | executed, in the order of the page, with the files that the page has shown |
| `console` | lines that begin with `$ ` are commands: all are held against the command line, and executed |
| `json` | parsed |
| `text` | nothing: what a program prints |
| `{...}` | a directive of the site, which `make docs` checks |

A `python` or `yaml` block whose first line is `# NAME.py` (or .yaml, .csv, ...) is that file: it is written where the
commands of the page run, `# NAME.py, continued` behind what it holds. Comments before a block say more:

    <!-- not run: why -->    python is compiled only, commands are held against the command line, yaml is parsed
    <!-- setup
    commands                 that are executed before the block, and that no reader needs
    -->
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Pages that a test of their own follows, which looks at what they print too.
OWN_TESTS = {
    "docs/guides/cluster.md": "tests/cluster/test_cluster_page.py",
    "docs/guides/bring-your-own-task.md": "tests/test_guide.py",
    "docs/guides/first-study.md": "tests/scaffold/test_first_study_page.py",
    "docs/python-api.md": "tests/test_python_api.py",
}
KINDS = ("yaml", "python", "console", "json", "text")
_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<kind>.*)$")
_COMMENT = re.compile(r"<!-- *(?P<word>not run|setup)\b:?\s*(?P<text>.*?)\s*-->", re.DOTALL)
_FILE = re.compile(r"# (?P<name>[\w./-]+\.\w+)(?P<continued>, continued)?\n")
_PROMPT = re.compile(r"^[\w@:~/-]*\$ ")


def pages() -> list[Path]:
    """Return every page whose blocks are tested; the built reports in docs/examples are none."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
    return [path for path in found if "examples" not in path.parts]


def name_of(path: Path) -> str:
    """Return the page's path in the project."""
    return str(path.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: its file.
        line: the line of its fence, from 1.
        kind: the word behind the fence.
        text: what stands in it, with a newline at its end.
        not_run: why it is not executed; empty: it is.
        setup: commands to execute before it.
    """

    page: Path
    line: int
    kind: str
    text: str
    not_run: str = ""
    setup: str = ""

    @property
    def place(self) -> str:
        """The file and line, for messages."""
        return f"{name_of(self.page)}, line {self.line}"

    @property
    def file(self) -> str:
        """The name of the file that the block is; empty if it is none."""
        found = _FILE.match(self.text) if self.kind in ("python", "yaml") else None
        return found["name"] if found else ""

    @property
    def continues(self) -> bool:
        """True if the block belongs behind what the file holds already."""
        found = _FILE.match(self.text)
        return bool(found and found["continued"])

    @property
    def commands(self) -> list[str]:
        """The commands of a console block, lines that end with a backslash joined."""
        joined = self.text.replace("\\\n", " ")
        return [_PROMPT.sub("", line) for line in joined.splitlines() if _PROMPT.match(line)]


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page in their order."""
    found: list[Block] = []
    lines = page.read_text().splitlines()
    said, at = "", 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            said, at = f"{said}{lines[at]}\n", at + 1
            continue
        end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == fence["ticks"])
        indent = len(fence["indent"])
        text = "".join(f"{line[indent:]}\n" for line in lines[at + 1 : end])
        # A comment counts if nothing but other comments stands between it and the block.
        behind = re.search(r"(?:<!--(?:(?!-->).)*-->\s*)+\Z", said, re.DOTALL)
        comments = {one["word"]: one["text"] for one in _COMMENT.finditer(behind[0] if behind else "")}
        found.append(
            Block(page, at + 1, fence["kind"].strip(), text, comments.get("not run", ""), comments.get("setup", ""))
        )
        said, at = "", end + 1
    return found


def spans_of(page: Path) -> list[str]:
    """Return the commands `hpo ...` that stand in running text."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`(hpo [a-z][^`]*)`", text)]
