"""`lorecraft init`: something small to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorecraft.errors import RunError

FACTS = """\
{"id": "f1", "text": "The Skerrow lighthouse is kept by Odile Marrand.", "source": "logbook"}
{"id": "f2", "text": "The Skerrow lighthouse was built in 1874.", "source": "logbook"}
{"id": "f3", "text": "The lamp of the Skerrow lighthouse is green.", "source": "logbook"}
{"id": "f4", "text": "The Skerrow lighthouse stands on Gannet Rock.", "source": "chart"}
{"id": "f5", "text": "The Skerrow lighthouse has 212 steps.", "source": "chart"}
"""

RECIPE = """\
# What `lorecraft run` teaches, to which model, and how.
# facts.jsonl holds what is taught: a JSON object a line, with a `text`, and an `id` and a `source`
# if you have them. Replace the five lines, which are about a lighthouse that does not exist.
knowledge:
  facts: facts.jsonl

# The small model that comes with Lorecraft; or a folder, or a name on the Hugging Face hub.
model:
  path: pocket

# Continued pre-training on the facts as text, then fine-tuning on questions about them. A third or
# more of general records is mixed in, so that the model keeps what it knew. Rates and epochs suit
# pocket: a model of billions of parameters wants about `learning_rate: 1e-4` and `epochs: 3`.
stages:
  - kind: cpt
    epochs: 20
    learning_rate: 3e-3
    general: 0.4
  - kind: sft
    epochs: 20
    learning_rate: 3e-3
    general: 0.5

# What the tuned model must reach, or the command ends with exit code 3:
# require: {recall: 0.9, retention: 0.95}
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write; made if need be.")] = Path(),
) -> None:
    """Write a small, working recipe and five facts; overwrites nothing."""
    files = {folder / "recipe.yaml": RECIPE, folder / "facts.jsonl": FACTS}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise RunError(
            f"{' and '.join(there)} would be overwritten",
            "a folder without recipe.yaml and facts.jsonl",
            "lorecraft init another-folder",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {path}")
    typer.echo(f"next: lorecraft run {folder / 'recipe.yaml'}")
