"""Describes a recipe by an unknown author in the terminal, without interpreting its text."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from axolotl_dmt.console import printable
from axolotl_dmt.recipes.recipe import Card, Recipe
from axolotl_dmt.report.format import with_error


def recipe_parts(recipe: Recipe) -> Iterator[RenderableType]:
    """Yield the parts of the description from top to bottom.

    Control characters in the recipe do not reach the terminal, and its markup is not interpreted.
    """
    if recipe.card:
        yield from _card_parts(recipe.card)
    else:
        config = recipe.config
        yield plain(f"{recipe.name}: a YAML without a card, base model {config.get('base_model')}")
        entries = config.get("datasets")
        entries = entries if isinstance(entries, list) else []
        for entry in (entry for entry in entries if isinstance(entry, dict)):
            yield plain(f"  {entry.get('domain')}: {entry.get('path')}")
    files = ", ".join(f"{name} ({len(data):,} bytes)" for name, data in recipe.files.items())
    yield plain(f"\nfiles: {files}")
    if recipe.left_out:
        yield plain(f"left out: {', '.join(recipe.left_out)}")
    if not recipe.findings:
        yield Text("nothing in it needs --trust", style="green")
        return
    yield Text("needs --trust:", style="bold red")
    for finding in recipe.findings:
        yield plain(f"  {finding}")


def _card_parts(card: Card) -> Iterator[RenderableType]:
    by = f" by {card.author}" if card.author else ""
    yield plain(f"{card.name}{by}, licence: {card.licence or 'none given'}")
    revision = f" at {card.base_model.revision}" if card.base_model.revision else ""
    yield plain(f"base model: {card.base_model.path}{revision}\n")
    data = Table("domain", "source", "revision", "rows", box=None, pad_edge=False)
    for source in card.data:
        where = f"{source.path} (provide your own)" if source.local else source.path
        rows = "–" if source.rows is None else f"{source.rows:,}"
        data.add_row(*map(plain, (source.domain or "", where, source.revision or "–", rows)))
    yield data
    stages = Table("stage", "steps", "epochs", "peak lr", "rows", box=None, pad_edge=False)
    for stage in card.stages:
        rows = ", ".join(f"{domain} {count:,}" for domain, count in stage.rows.items())
        numbers = (f"{stage.steps:,}", f"{stage.epochs:g}" if stage.epochs else "–")
        rate = f"{stage.learning_rate:g}" if stage.learning_rate else "–"
        stages.add_row(*map(plain, (stage.name, *numbers, rate, rows)))
    yield Text()
    yield stages
    if card.scores:
        scores = Table("stage", "ability", "score", "n", "task", box=None, pad_edge=False)
        for score in card.scores:
            value = with_error(score.value, score.stderr)
            cells = (score.stage, score.ability, value, f"{score.n:,}", score.task)
            scores.add_row(*map(plain, cells))
        yield Text()
        yield scores
    yield plain(f"\nplan fingerprint {card.plan_fingerprint}")
    yield plain(", ".join(f"{name} {version}" for name, version in card.versions.items()))


def plain(text: str) -> Text:
    """Return a text, possibly of several lines, without markup and control characters."""
    return Text(printable(text, keep="\n"))
