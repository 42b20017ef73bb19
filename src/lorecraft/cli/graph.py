"""`lorecraft graph`: the knowledge as a graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorecraft.cli.targets import TARGET_HELP, locate

if TYPE_CHECKING:
    from lorecraft.knowledge.graph import Graph

_LINKED = 5


def graph(
    target: Annotated[str, typer.Argument(help=f"{TARGET_HELP} Or facts, a .jsonl file.")],
    ontology: Annotated[
        Path | None, typer.Option(help="The ontology, where the target is facts.")
    ] = None,
    path: Annotated[
        tuple[str, str] | None, typer.Option(metavar="A B", help="Show how two things are linked.")
    ] = None,
    query: Annotated[
        str | None, typer.Option(help="Answer a SPARQL query, such as 'SELECT * {?s r:color ?o}'.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw it: an .svg file, or .html to move and search in.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write it: .ttl, .jsonld or .graphml.")
    ] = None,
) -> None:
    """Show the knowledge as a graph: what there is, how it is linked and what follows.

    Facts that do not fit the ontology are named, and nothing is written.
    """
    from lorecraft.errors import DataError

    found = _graph(target, ontology)
    if not found.edges:
        raise DataError(
            f"{target}: none of {found.untold} facts has a triple, and a graph is made of those",
            'facts such as {"text": "...", "triple": ["Pell Tower", "floors", "9"]}',
        )
    if path:
        _way(found, *path)
    if query:
        _answer(found, query)
    if picture:
        _draw(found, picture)
        typer.echo(picture)
    if export:
        from lorecraft.knowledge.exports import export as write

        write(found, export)
        typer.echo(export)
    if not (path or query or picture or export):
        _tell(found)


def _graph(target: str, ontology: Path | None) -> Graph:
    from lorecraft.errors import RecipeError
    from lorecraft.knowledge.graph import Graph
    from lorecraft.recipe import KnowledgeSection, load_recipe
    from lorecraft.runs.prepare import read_knowledge

    if target.endswith(".jsonl"):
        return Graph(*read_knowledge(KnowledgeSection(facts=Path(target), ontology=ontology)))
    if ontology:
        raise RecipeError(
            f"--ontology with {target}", "facts in a .jsonl file; a recipe names its own ontology"
        )
    where = locate(target)
    recipe = load_recipe(where / "recipe.yaml" if where.is_dir() else where)
    return Graph(*read_knowledge(recipe.knowledge))


def _tell(graph: Graph) -> None:
    from rich.console import Console
    from rich.table import Table

    counts = graph.counts()
    edges, follows = len(graph.edges), len(graph.inferred)
    values = len({edge.object for edge in graph.edges if not edge.object.thing})
    console = Console()
    typer.echo(f"{len(graph.things):,} things, {values:,} values, {edges:,} facts")
    if follows:
        typer.echo(f"{follows:,} more follow from them")
    if graph.untold:
        typer.echo(f"{graph.untold:,} facts have no triple, and stand in no graph")
    if counts["classes"]:
        classes = Table("class", "things")
        for name, number in counts["classes"].items():
            classes.add_row(_line(name), f"{number:,}")
        console.print(classes, markup=False)
    relations = Table("relation", "facts", *["follow"] * bool(follows))
    for name, number in counts["relations"].items():
        more = counts["inferred"][name]
        relations.add_row(_line(name), f"{number:,}", *[f"{more:,}"] * bool(follows))
    console.print(relations, markup=False)
    linked = [f"{_line(name)} {number:,}" for name, number in counts["linked"].most_common(_LINKED)]
    typer.echo(f"most facts: {', '.join(linked) or 'none'}")
    if alone := [_line(name) for name, number in counts["linked"].items() if not number]:
        hidden = f" and {len(alone) - _LINKED:,} more" if len(alone) > _LINKED else ""
        typer.echo(f"in no fact: {', '.join(alone[:_LINKED])}{hidden}")


def _way(graph: Graph, start: str, end: str) -> None:
    """One step a line, in the direction that it is gone, with where it is told."""
    first, last = graph.node(start), graph.node(end)
    steps = graph.path(first, last)
    if steps is None:
        typer.echo(f"nothing that is told links {_line(first.name)} and {_line(last.name)}")
    if first == last:
        typer.echo(f"{_line(start)} and {_line(end)} are one: {_line(first.name)}")
    for edge, forward in steps or ():
        ends = [edge.subject.name, edge.object.name]
        arrow = f"-- {edge.relation} -->" if forward else f"<-- {edge.relation} --"
        here, there = ends if forward else ends[::-1]
        typer.echo(f"{_line(f'{here} {arrow} {there}')}    {_line(edge.why)}")
    for edge in graph.inferred:
        if {edge.subject, edge.object} == {first, last}:
            typer.echo(_line(f"{edge.subject.name} {edge.relation} {edge.object.name}: {edge.why}"))


def _answer(graph: Graph, query: str) -> None:
    """Tab-separated values, as SPARQL's own format has them; names in the place of their IRIs."""
    from lorecraft.knowledge.triples import Store

    store = Store(graph)
    columns, rows = store.query(query)
    typer.echo("\t".join(columns))
    empty = True
    for row in rows:
        empty = False
        typer.echo("\t".join(_line(value) for value in row))
    for stranger in store.strangers(query) if empty else ():
        typer.echo(f"lorecraft: {_line(stranger)}", err=True)


def _draw(graph: Graph, path: Path) -> None:
    from lorecraft.disk import replacing
    from lorecraft.errors import DataError
    from lorecraft.reports.graph import html, svg

    drawn = {".svg": svg, ".html": lambda graph: html(graph, path.stem)}.get(path.suffix.lower())
    if drawn is None:
        raise DataError(f"{path}: no picture ends in '{path.suffix}'", "a file in .svg or .html")
    text = drawn(graph)
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _line(text: str) -> str:
    """A name may hold anything; a terminal shows what breaks a line or commands it, escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "replace").decode()
        for letter in text
    )
