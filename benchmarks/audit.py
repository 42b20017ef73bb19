"""How long an audit takes, beside datasketch alone on the same records.

    python benchmarks/audit.py                      20,000 records
    python benchmarks/audit.py 1000000              a million: about 1 GB
    python benchmarks/audit.py 1000000 --without-peer
    python benchmarks/audit.py 1000000 --data-alone   writes the records, in the temporary folder

Records are chats of about 200 words, drawn as in million.py; one in fifty asks nearly what another
asks. `lorecraft audit` runs all its checks, on all cores. datasketch (MinHashLSH, 128 permutations,
threshold 0.8) does the near-duplicates of the questions alone, over the same five-letter shingles,
on 20,000 of the records at most. Both find pairs; how many of those planted is told of both.
Prints seconds, seconds of processor time, the peak of resident memory of all processes together
(sampled ten times a second), and writes them to benchmarks/results/audit.json.
"""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lorecraft.knowledge.general import rehearsal

RESULTS = Path(__file__).parent / "results"
PEER = 20_000
AUDIT = "from lorecraft.cli import main; main()"
DATASKETCH = """
import json, sys
from datasketch import MinHash, MinHashLSH
from lorecraft.data.similar import shingles
lsh, found = MinHashLSH(threshold=0.8, num_perm=128), []
with open("records.jsonl", encoding="utf-8") as file:
    for number, line in zip(range(int(sys.argv[1])), file):
        sketch = MinHash(num_perm=128)
        pieces = shingles(json.loads(line)["messages"][0]["content"])
        sketch.update_batch([piece.encode() for piece in pieces])
        found += [[other, number + 1] for other in lsh.query(sketch)]
        lsh.insert(number + 1, sketch)
json.dump(found, open("pairs.json", "w"))
"""


def main() -> None:
    count = int(next(filter(str.isdigit, sys.argv[1:]), 20_000))
    folder = Path(tempfile.gettempdir()) / "lorecraft-benchmarks" / f"chats-{count}"
    records = folder / "records.jsonl"
    if not (folder / "planted.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        pairs = sorted(write_records(records, count))
        (folder / "planted.json").write_text(json.dumps(pairs))
    planted = {(i, j) for i, j in json.loads((folder / "planted.json").read_text())}
    size = round(records.stat().st_size / 1e6)
    print(f"{count:,} records, {size:,} MB, {len(planted):,} near-duplicates planted", flush=True)
    if "--data-alone" in sys.argv:
        return
    ours = measure("audit", AUDIT, folder, count, "audit", records.name, "--json", "audit.json")
    ours["found"] = _found(_pairs_of(folder / "audit.json"), planted)
    results: dict[str, Any] = {
        "records": count,
        "megabytes": size,
        "machine": _machine(),
        "lorecraft": ours,
    }
    if "--without-peer" not in sys.argv:
        some = min(count, PEER)
        peer = measure("datasketch", DATASKETCH, folder, some, str(some))
        pairs = {(i, j) for i, j in json.loads((folder / "pairs.json").read_text())}
        peer["records"] = some
        peer["found"] = _found(pairs, {pair for pair in planted if pair[1] <= some})
        results["datasketch"] = peer
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "audit.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | {str(count): results}, indent=2) + "\n")


def measure(name: str, code: str, folder: Path, count: int, *arguments: str) -> dict[str, Any]:
    """Run a Python program in ``folder``; what it took, with all processes it started."""
    began = time.perf_counter()
    before = os.times()
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=folder)
    peak = [0]
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(process.pid, peak, done))
    watch.start()
    status = process.wait()
    seconds = time.perf_counter() - began
    done.set()
    watch.join()
    if status:
        raise SystemExit(f"{name} failed")
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    print(
        f"{name:10} {seconds:6.1f} s ({cpu:.1f} s of processor time), "
        f"{count / seconds:7,.0f} records/s, peak {peak[0] / 1e6:,.0f} MB"
    )
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "records_per_second": round(count / seconds),
        "peak_megabytes": round(peak[0] / 1e6),
    }


def _watch(root: int, peak: list[int], done: threading.Event) -> None:
    """The highest sum of resident memory of a process and its children (Linux). Pages that they
    share count for each of them."""
    while not done.wait(0.1):
        tasks = Path(f"/proc/{root}/task")
        try:
            children = [c for t in tasks.iterdir() for c in (t / "children").read_text().split()]
        except OSError:
            return
        peak[0] = max(peak[0], sum(map(_resident, (root, *map(int, children)))))


def _resident(process: int) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _pairs_of(path: Path) -> set[tuple[int, int]]:
    found = json.loads(path.read_text())["findings"]
    spots = [s for f in found if f["check"] == "near duplicates" for s in f["spots"]]
    lines = [[int(place.rsplit(" ", 1)[1]) for place in spot["places"]] for spot in spots]
    return {(min(pair), max(pair)) for pair in lines}


def _found(pairs: set[tuple[int, int]], planted: set[tuple[int, int]]) -> str:
    return f"{len(planted & pairs)} of {len(planted)} planted, {len(pairs)} pairs in all"


def _machine() -> dict[str, Any]:
    return {"python": platform.python_version(), "cores": os.cpu_count()}


def write_records(path: Path, count: int) -> set[tuple[int, int]]:
    """Writes the records; the pairs of lines that ask nearly the same."""
    told = [text for item in rehearsal() for text in (*item.statements, *item.questions)]
    words = Counter(word for text in told for word in text.rstrip(".?").split())
    shares = np.array(list(words.values())) / words.total()
    draw, many = random.Random(0), np.random.default_rng(0)

    def endless() -> Iterator[str]:
        known = np.array(list(words))
        while True:
            yield from known[many.choice(len(known), 1 << 16, p=shares)].tolist()

    drawn = endless()
    earlier: list[tuple[int, list[str]]] = []
    planted = set()
    with path.open("w", encoding="utf-8") as file:
        for line in range(1, count + 1):
            question = [*islice(drawn, draw.randint(35, 90)), f"{draw.randrange(10**6)}"]
            if line % 50 == 0:
                first, known = draw.choice(earlier)
                question = list(known)
                question[draw.randrange(len(question) - 1)] = "other"
                planted.add((first, line))
            elif line % 50 == 1:
                earlier.append((line, question))
            said = [
                " ".join(islice(drawn, draw.randint(8, 24))) for _ in range(draw.randint(5, 11))
            ]
            turns = [("user", " ".join(question) + "?"), ("assistant", ". ".join(said) + ".")]
            messages = [{"role": role, "content": content} for role, content in turns]
            file.write(json.dumps({"messages": messages}) + "\n")
    return planted


if __name__ == "__main__":
    main()
