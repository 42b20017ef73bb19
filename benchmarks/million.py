"""What a data set larger than memory costs: prepared, tokenised, and read in the order of training.

    python benchmarks/million.py            20,000 records
    python benchmarks/million.py 1000000    a million: some ten minutes, 3 GB of disk

Records are chats of about 60 words, drawn from those of the general knowledge as often as they
stand there; one in fifty asks nearly what another asks. General records are mixed in, as always.
Each part runs in a process of its own. Prints its seconds, its records a second and its peak of
resident memory, and writes them to benchmarks/results/records-<count>.json.
"""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from lorecraft.knowledge.general import rehearsal

RESULTS = Path(__file__).parent / "results"
RECIPE = "name: run\noutput: .\nengine: fake\ndata: {train: records.jsonl}\n"

PREPARE = "from lorecraft.cli import main; main()"
ENCODE = """
from pathlib import Path
from lorecraft.recipe import load_recipe
from lorecraft.runs.progress import Silent
from lorecraft.runs.stage import encode_stage
from lorecraft.runs.workbench import Workbench
recipe = load_recipe(Path("recipe.yaml"))
bench, length = Workbench.open(recipe), recipe.data.max_length
encode_stage(bench.tokenizer, length, Path("run/data/sft"), Path("run/tokens/sft"), Silent())
"""
READ = (
    ENCODE.replace("encode_stage(b", "examples = encode_stage(b")
    + """
from lorecraft.data.batches import pack
from lorecraft.data.order import epoch_batches
train = examples.train
for batch in epoch_batches(train.lengths.tolist(), 16, 0, 0):
    pack([train[index] for index in batch], 0)
"""
)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder / "records.jsonl", count)
        (folder / "recipe.yaml").write_text(RECIPE)
        print(f"{count:,} records, {(folder / 'records.jsonl').stat().st_size / 1e6:,.0f} MB")
        prepared = measure("prepare", PREPARE, folder, count, "prepare", "recipe.yaml")
        mixed = sum(
            (folder / "run" / "data" / "sft" / f"{part}.jsonl").read_bytes().count(b"\n")
            for part in ("train", "valid")
        )
        parts = {
            "prepare": prepared,
            "encode": measure("encode", ENCODE, folder, mixed),
            "read": measure("read", READ, folder, mixed),
        }
    machine = {"python": platform.python_version(), "cores": os.cpu_count()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"records-{count}.json").write_text(
        json.dumps({"records": count, "mixed": mixed, "machine": machine} | parts, indent=2) + "\n"
    )


def measure(name: str, code: str, folder: Path, count: int, *arguments: str) -> dict[str, Any]:
    """Run a Python program in ``folder``; what it took."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{name} failed")
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    cpu = usage.ru_utime + usage.ru_stime
    print(
        f"{name:8} {seconds:7.1f} s ({cpu:.1f} s of one core), {count / seconds:7,.0f} records/s, "
        f"peak {peak:,.0f} MB"
    )
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "records_per_second": round(count / seconds),
        "peak_megabytes": round(peak),
    }


def write_records(path: Path, count: int) -> None:
    told = [text for item in rehearsal() for text in (*item.statements, *item.questions)]
    words = Counter(word for text in told for word in text.rstrip(".?").split())
    draw = random.Random(0)
    choose = partial(draw.choices, list(words), cum_weights=list(accumulate(words.values())))
    earlier: list[list[str]] = []
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            question = [*choose(k=draw.randint(15, 44)), f"{draw.randrange(10**6)}"]
            if number % 50 == 49:
                question = list(draw.choice(earlier))
                question[draw.randrange(len(question))] = "other"
            elif number % 50 == 0:
                earlier.append(question)
            answer = choose(k=draw.randint(15, 45))
            turns = [("user", " ".join(question) + "?"), ("assistant", " ".join(answer) + ".")]
            messages = [{"role": role, "content": content} for role, content in turns]
            file.write(json.dumps({"messages": messages}) + "\n")


if __name__ == "__main__":
    main()
