"""How long the command takes before it does anything, beside a bare Python.

Run by `make bench`. Prints the median and the slowest of several runs, in seconds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 10


def main() -> None:
    command = str(Path(sys.executable).with_name("lorecraft"))
    for name, arguments in {
        "lorecraft --help": [command, "--help"],
        "python -c 'pass'": [sys.executable, "-c", "pass"],
    }.items():
        taken = [_seconds(arguments) for _ in range(RUNS)]
        print(f"{name:20} median {statistics.median(taken):.2f} s, slowest {max(taken):.2f} s")


def _seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(arguments, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
