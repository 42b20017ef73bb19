"""How long the docstrings of five large packages take to become questions and answers.

Run by `make bench`. Prints seconds, and how many records there are.
"""

from __future__ import annotations

import time

from lorecraft.data.docstrings import docstring_records
from lorecraft.knowledge.python import source_files

PACKAGES = ("torch", "transformers", "sympy", "networkx", "numpy")


def main() -> None:
    started = time.perf_counter()
    records = docstring_records(PACKAGES, max_length=512)
    taken = time.perf_counter() - started
    files = sum(len(source_files(package)) for package in PACKAGES)
    print(f"{', '.join(PACKAGES)}: {len(records):,} records of {files:,} files in {taken:.1f} s")


if __name__ == "__main__":
    main()
