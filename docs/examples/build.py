"""Writes the example reports in this folder, of the quickstart study in each language.

    python docs/examples/build.py [--runs DIR]

Without --runs the study is run first. Links to files that stay with the run become plain text."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="a runs folder that has the quickstart study")
    given = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        runs = given.absolute() if given else Path(name) / "runs"
        if not given:
            hpo("run", "quickstart", "--runs", runs)
        for lang, stem in (("en", "report"), ("zh-TW", "report.zh-TW")):
            hpo("report", "quickstart", "--runs", runs, "--lang", lang, "--images")
            images = f"{stem}-images"
            shutil.rmtree(HERE / images, ignore_errors=True)
            shutil.copytree(runs / "quickstart" / images, HERE / images)
            text = (runs / "quickstart" / f"{stem}.md").read_text(encoding="utf-8")
            text = re.sub(r"(?<!!)\[([^\]]*)\]\((?![^)]*-images/)[^)]*\)", r"\1", text)
            (HERE / f"{stem}.md").write_text(text.replace(str(runs), "/home/you/runs"), encoding="utf-8")


def hpo(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "hpo", *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
