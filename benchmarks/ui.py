"""What `hpo ui` costs with a study of 5,000 trials of 50 epochs: seconds of its pages, and memory.

    python benchmarks/ui.py [--trials 5000] [--epochs 50] [--runs DIR]

`hpo ui` is started anew, so that the first page is that of a study nobody has read yet. Then each page is asked for
some times. With a Chromium pages are also opened in the browser, until what they begin with is drawn. --runs takes
a runs folder that benchmarks/ui_study.py has written."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ui_study import write_large_study

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from browser import Tab
from ui.serving import Served

PARTS = ("state", "curves", "history", "heatmaps", "parallel")
TABLES = (
    *("page=2", "page=50", "sort=learning_rate&page=3", "sort=seconds&order=reverse"),
    *("q=focal+unet", "state=PRUNED"),
)
SHOWN = "document.querySelector('.headline') && document.querySelectorAll('.row .js-plotly-plot').length >= 3"


def seconds(do: Callable[[], object]) -> float:
    """What something takes."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def without_browser(runs: Path) -> None:
    """Seconds of each page, asked for as a program does."""
    with Served(runs) as served:

        def first() -> None:
            served.get("/study/scale")
            served.get("/study/scale/part/state")
            served.get("/study/scale/part/curves")

        print(f"first page, of a study that nobody has read yet   {seconds(first):6.2f} s")
        again = [seconds(first) for _ in range(5)]
        print(f"the same page again                               {statistics.median(again):6.2f} s")
        for part in PARTS[2:]:
            first_time = seconds(lambda part=part: served.get(f"/study/scale/part/{part}"))  # type: ignore[misc]
            print(f"{part:<50}{first_time:6.2f} s")
        tables = [seconds(lambda t=table: served.get(f"/study/scale/part/rows?{t}")) for table in TABLES]  # type: ignore[misc]
        print(f"a page of the table, the slowest of {len(tables)}             {max(tables):6.2f} s")
        trials = [seconds(lambda n=n: served.get(f"/study/scale/trials/{n}/part")) for n in range(0, 5000, 500)]  # type: ignore[misc]
        print(f"page of a trial, the slowest of {len(trials)}                {max(trials):6.2f} s")
        print(f"memory                                            {served.memory:6.0f} MB")


def with_browser(runs: Path) -> None:
    """Seconds until a page is drawn."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        Tab(Path(folder)) as tab,
        Served(runs) as served,
    ):
        tab.open(served.link)

        def study() -> None:
            tab.open(f"{served.root}/study/scale")
            tab.wait(SHOWN)

        def table() -> None:
            tab.open(f"{served.root}/study/scale/trials?page=7")
            tab.wait("document.querySelectorAll('tbody tr').length === 50")

        print(f"in the browser: first page with its curves        {seconds(study):6.2f} s")
        print(f"in the browser: the same page again               {seconds(study):6.2f} s")
        print(f"in the browser: a page of the table               {seconds(table):6.2f} s")
        print(f"memory                                            {served.memory:6.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--runs", type=Path, help="a runs folder that is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = options.runs or write_large_study(Path(folder), options.trials, options.epochs)
        without_browser(runs.absolute())
        if shutil.which("chromium") or shutil.which("google-chrome"):
            with_browser(runs.absolute())


if __name__ == "__main__":
    main()
