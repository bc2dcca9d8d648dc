"""How long `hpo --help` and `hpo check` take, beside importing what a check needs.

    python benchmarks/startup.py [--rounds 9]

The commands take turns as whole processes; printed are medians of wall seconds, and the median of the
rounds' ratios of `hpo check` to the imports."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "hpo --help": ["-m", "hpo", "--help"],
    "hpo check studies/quickstart.yaml": ["-m", "hpo", "check", "studies/quickstart.yaml"],
    "import optuna, pydantic, yaml": ["-c", "import optuna, pydantic, yaml"],
}


def seconds(arguments: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    rounds = [{name: seconds(arguments) for name, arguments in COMMANDS.items()} for _ in range(options.rounds + 1)]
    rounds = rounds[1:]  # the first fills the file cache
    _, check, imports = COMMANDS
    for name in COMMANDS:
        print(f"{statistics.median(row[name] for row in rounds):6.3f} s  {name}")
    ratios = [row[check] / row[imports] for row in rounds]
    print(f"{statistics.median(ratios):6.2f}    check / imports ({min(ratios):.2f}-{max(ratios):.2f})")


if __name__ == "__main__":
    main()
