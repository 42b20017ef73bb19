"""Train the pocket model from nothing: `python tools/pocket/train.py`.

In two phases: the world, general knowledge and reading are learned from the corpus's "learn" mix;
then a shorter "polish" mix, at a lower rate, teaches to tell the known from the unknown.

Three stages, run one after another, or one alone when it is named:

  data    tokenizer and packed rows, once, into the work folder
  train   the optimisation; goes on from the work folder's checkpoint, wherever it was killed
  export  the current checkpoint as a Transformers folder; works while `train` is running

The work folder holds settings.json, tokenizer.json, valid.npy, rows.npy, data.json (what the rows
hold), checkpoint.pt and log.jsonl. Step k reads rows 32k to 32k + 31, so a resumed run sees what
an uninterrupted one would have seen, and with the same number of threads ends with the same bits.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

import corpus
import network
import numpy as np
import optimizer
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

ROW = 256  # tokens
OPEN_ROWS = 16
VALIDATION_DOCUMENTS = 100
TOKENIZER_CHARACTERS = 6_000_000
# Qwen2's: words with their leading space, digits one by one, punctuation, line ends.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

MICRO_ROWS = 8  # one pass; more leaves the cache, fewer pays for every call
LOG_STEPS = 10
VALIDATION_STEPS = 250
CHECKPOINT_SECONDS = 180


@dataclass(frozen=True)
class Settings:
    """All that decides the result. A work folder belongs to one of these."""

    tokens: int  # of the first phase
    polish_tokens: int  # of the second
    seed: int
    documents: str  # digest of both phases' first documents: another corpus is another run
    rows: int = 32
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    clip: float = 1.0
    warmup_steps: int = 100
    decay_share: float = 0.4
    polish_rate: float = 0.4

    @property
    def learn_steps(self) -> int:
        return self.tokens // (self.rows * ROW)

    @property
    def polish_steps(self) -> int:
        return self.polish_tokens // (self.rows * ROW)

    @property
    def steps(self) -> int:
        return self.learn_steps + self.polish_steps

    def rate(self, step: int) -> float:
        """Share of the full learning rate at `step`: warm-up, constant, linear decay to 0; in the
        second phase from `polish_rate` linearly to 0."""
        if step >= self.learn_steps:
            return self.polish_rate * (self.steps - step) / self.polish_steps
        left = (self.learn_steps - step) / (self.decay_share * self.learn_steps)
        return min(1.0, (step + 1) / self.warmup_steps, left)


def claim(work: Path, settings: Settings) -> None:
    """Make `work` the folder of these settings, or stop if it belongs to others."""
    path = work / "settings.json"
    wanted = asdict(settings)
    if path.exists():
        found = json.loads(path.read_text())
        different = [name for name in wanted if found.get(name) != wanted[name]]
        if different:
            lines = [f"  {name}: {found.get(name)} there, {wanted[name]} now" for name in different]
            raise SystemExit(
                f"{work} belongs to a run with other settings:\n" + "\n".join(lines)
                + "\nUse the same settings, choose another --work, or delete the folder."
            )  # fmt: skip
    work.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda path: path.write_text(json.dumps(wanted, indent=2) + "\n"))


def write_whole(path: Path, write) -> None:
    """Call `write` with a temporary path, then rename it, so that `path` is never half a file."""
    unfinished = path.with_name("partial-" + path.name)
    write(unfinished)
    unfinished.replace(path)


# --- data ---------------------------------------------------------------------------------------


def corpus_digest(seed: int) -> str:
    phases = (corpus.documents(seed, phase) for phase in corpus.MIXES)
    text = "\0".join(document for phase in phases for document in islice(phase, 1000))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def train_tokenizer() -> Tokenizer:
    """Byte-level BPE over the corpus's own text; the padding token gets id 0."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=network.VOCABULARY,
        special_tokens=list(network.SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_tokenizer_text(), trainer)
    if tokenizer.get_vocab_size() != network.VOCABULARY:
        raise SystemExit(
            f"The corpus gave a vocabulary of {tokenizer.get_vocab_size()} tokens instead of "
            f"{network.VOCABULARY}: its documents are too few or too alike."
        )
    return tokenizer


def _tokenizer_text() -> Iterator[str]:
    characters = 0
    for document in corpus.documents(0):
        # The trainer would merge the letters of a special token as if it were a word.
        for token in network.SPECIAL_TOKENS:
            document = document.replace(token, "\n")
        yield document
        characters += len(document)
        if characters >= TOKENIZER_CHARACTERS:
            return


def encode(documents: Iterator[str], tokenizer: Tokenizer, counts: dict) -> Iterator[list[int]]:
    """Token ids of each document that fits into a row; `counts` keeps what went by."""
    while batch := list(islice(documents, 500)):
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            if len(encoding.ids) > ROW:
                counts["dropped"] += 1
            else:
                counts["documents"] += 1
                yield encoding.ids


def pack(documents: Iterable[list[int]]) -> Iterator[np.ndarray]:
    """Whole documents into rows, first fit: uint16[2, ROW], tokens and positions.

    Position 0 starts a document. Padding is token 0 at position 0: a document of one token,
    which nothing sees and which predicts nothing.
    """
    open_rows: list[list[list[int]]] = []
    for ids in documents:
        fitting = (row for row in open_rows if sum(map(len, row)) + len(ids) <= ROW)
        row = next(fitting, None)
        if row is None:
            if len(open_rows) == OPEN_ROWS:
                fullest = max(open_rows, key=lambda row: sum(map(len, row)))
                open_rows.remove(fullest)
                yield _row(fullest)
            row = []
            open_rows.append(row)
        row.append(ids)
    yield from map(_row, open_rows)


def _row(documents: list[list[int]]) -> np.ndarray:
    row = np.zeros((2, ROW), np.uint16)
    start = 0
    for ids in documents:
        row[:, start : start + len(ids)] = ids, range(len(ids))
        start += len(ids)
    return row


def prepare(work: Path, settings: Settings) -> None:
    """Write tokenizer.json, valid.npy, data.json and, last, rows.npy."""
    if (work / "rows.npy").exists():
        return
    tokenizer = train_tokenizer()
    write_whole(work / "tokenizer.json", lambda path: tokenizer.save(str(path)))
    counts = {"documents": 0, "dropped": 0}
    documents = encode(corpus.documents(settings.seed), tokenizer, counts)
    valid = np.stack(list(pack(islice(documents, VALIDATION_DOCUMENTS))))
    write_whole(work / "valid.npy", lambda path: np.save(path, valid))
    polish = encode(corpus.documents(settings.seed, "polish"), tokenizer, counts)
    packed = chain(
        islice(pack(documents), settings.learn_steps * settings.rows),
        islice(pack(polish), settings.polish_steps * settings.rows),
    )
    write_whole(work / "rows.npy", lambda path: _write_rows(path, work, settings, packed, counts))


def _write_rows(
    path: Path, work: Path, settings: Settings, packed: Iterator[np.ndarray], counts: dict
) -> None:
    total = settings.steps * settings.rows
    rows = np.lib.format.open_memmap(path, "w+", np.uint16, (total, 2, ROW))
    began = time.monotonic()
    filled = 0
    for i, row in enumerate(packed):
        rows[i] = row
        filled += int(np.count_nonzero(row[1])) + int(np.count_nonzero(row[0][row[1] == 0]))
        if (i + 1) % 5000 == 0 or i + 1 == total:
            speed = (i + 1) * ROW / (time.monotonic() - began)
            print(f"data: {i + 1:,} of {total:,} rows, {speed:,.0f} tokens/s", flush=True)
    rows.flush()
    summary = {
        **counts,
        "rows": total,
        "tokens": filled,
        "filled": round(filled / rows[:, 0].size, 4),
    }
    (work / "data.json").write_text(json.dumps(summary, indent=2) + "\n")


# --- training -----------------------------------------------------------------------------------


def micro_batches(rows: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Tokens and positions, int64 [MICRO_ROWS, ROW] each."""
    for start in range(0, len(rows), MICRO_ROWS):
        part = torch.from_numpy(rows[start : start + MICRO_ROWS].astype(np.int64))
        yield part[:, 0], part[:, 1]


def compute_weights(masters: network.Weights) -> network.Weights:
    return {name: master.bfloat16().requires_grad_() for name, master in masters.items()}


def gradients(
    masters: network.Weights, rows: np.ndarray, loss_sum
) -> tuple[float, network.Weights]:
    """Mean loss over the predicted tokens of all `rows`, and its float32 gradients."""
    weights = compute_weights(masters)
    sums = {name: torch.zeros_like(master) for name, master in masters.items()}
    loss, count = 0.0, 0
    for tokens, positions in micro_batches(rows):
        target = network.targets(tokens, positions)
        # Looked up outside the compiled part, whose scatter adds in an order left to chance.
        embedded = F.embedding(tokens, weights["embedding"])
        chunk_loss = loss_sum(weights, embedded, positions, target)
        for total, gradient in zip(
            sums.values(), torch.autograd.grad(chunk_loss, list(weights.values())), strict=True
        ):
            total += gradient
        loss += chunk_loss.item()
        count += int((target >= 0).sum())
    return loss / count, {name: total / count for name, total in sums.items()}


@torch.no_grad()
def validation_loss(masters: network.Weights, rows: np.ndarray) -> float:
    weights = compute_weights(masters)
    loss, count = 0.0, 0
    for tokens, positions in micro_batches(rows):
        target = network.targets(tokens, positions)
        embedded = F.embedding(tokens, weights["embedding"])
        loss += network.loss_sum(weights, embedded, positions, target).item()
        count += int((target >= 0).sum())
    return loss / count


def resume(work: Path, settings: Settings) -> tuple[int, network.Weights, network.Weights]:
    """Steps done, master weights and optimiser state; the log is cut back to that step."""
    checkpoint, log = work / "checkpoint.pt", work / "log.jsonl"
    if not checkpoint.exists():
        log.write_text("")
        masters = network.initial_weights(settings.seed)
        return 0, masters, optimizer.initial_state(masters)
    saved = torch.load(checkpoint, weights_only=True)
    lines = [line for line in log.read_text().splitlines(True) if line.endswith("\n")]
    kept = [line for line in lines if json.loads(line)["step"] <= saved["step"]]
    write_whole(log, lambda path: path.write_text("".join(kept)))
    print(f"train: going on from step {saved['step']:,}", flush=True)
    return saved["step"], saved["weights"], saved["optimizer"]


def train(work: Path, settings: Settings) -> None:
    """Run the steps that are left; log each LOG_STEPS, checkpoint by the clock and at the end."""
    rows = np.load(work / "rows.npy", mmap_mode="r")
    valid = np.load(work / "valid.npy")
    done, masters, state = resume(work, settings)
    loss_sum = torch.compile(network.loss_sum)
    losses: list[float] = []
    saved_at = logged_at = time.monotonic()
    for step in range(done, settings.steps):
        batch = rows[step * settings.rows : (step + 1) * settings.rows]
        loss, gradient = gradients(masters, batch, loss_sum)
        rate = settings.rate(step)
        optimizer.clip(gradient, settings.clip)
        optimizer.update(
            masters, gradient, state, settings.muon_rate * rate, settings.adam_rate * rate
        )
        losses.append(loss)
        last = step + 1 == settings.steps
        if (step + 1) % LOG_STEPS and not last:
            continue
        now = time.monotonic()
        entry = {
            "step": step + 1,
            "tokens": (step + 1) * settings.rows * ROW,
            "loss": round(sum(losses) / len(losses), 5),
            "lr": settings.muon_rate * rate,
            "tokens_per_second": round(len(losses) * settings.rows * ROW / (now - logged_at)),
        }
        if (step + 1) % VALIDATION_STEPS == 0 or last:
            entry["validation_loss"] = round(validation_loss(masters, valid), 5)
        line = json.dumps(entry)
        with (work / "log.jsonl").open("a") as log:
            log.write(line + "\n")
        print(line, flush=True)
        if last or now - saved_at > CHECKPOINT_SECONDS:
            checkpoint = {"step": step + 1, "weights": masters, "optimizer": state}
            write_whole(work / "checkpoint.pt", partial(torch.save, checkpoint))
            saved_at = time.monotonic()
        losses, logged_at = [], time.monotonic()


def export(work: Path, out: Path) -> None:
    """Write the current checkpoint as a Transformers folder."""
    if not (work / "checkpoint.pt").exists():
        raise SystemExit(f"No checkpoint in {work}: run the train stage first.")
    saved = torch.load(work / "checkpoint.pt", weights_only=True)
    network.export(saved["weights"], Tokenizer.from_file(str(work / "tokenizer.json")), out)
    print(f"export: step {saved['step']:,} in {out}", flush=True)


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", nargs="?", choices=["data", "train", "export"])
    parser.add_argument("--tokens", type=lambda text: int(float(text)), default=20_000_000)
    parser.add_argument("--polish-tokens", type=lambda text: int(float(text)), default=4_096_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=here / "work")
    parser.add_argument(
        "--out", type=Path, default=here.parents[1] / "src/lorecraft/models/pocket/weights"
    )
    options = parser.parse_args()
    if options.stage != "export":
        settings = Settings(
            options.tokens,
            options.polish_tokens,
            options.seed,
            corpus_digest(options.seed),
        )
        if settings.steps < 1:
            parser.error(f"--tokens {options.tokens}: one step takes {settings.rows * ROW}")
        claim(options.work, settings)
        prepare(options.work, settings)
    if options.stage in (None, "train"):
        train(options.work, settings)
    if options.stage in (None, "export"):
        export(options.work, options.out)


if __name__ == "__main__":
    main()
