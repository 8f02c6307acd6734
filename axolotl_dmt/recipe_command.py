"""`axolotl dmt recipe ...`: share a run, look at a stranger's, use it."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from axolotl_dmt.errors import DMTError, DMTErrors, one_clear_error

if TYPE_CHECKING:
    from axolotl_dmt.recipes import Recipe

_TRUST = "allow it with --trust if you know who wrote it, or take it out"


@click.group()
def recipe() -> None:
    """Recipes: runs to share. A recipe is data; what may do harm is shown and needs --trust."""


@recipe.command()
@click.argument("output_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), help="The new folder. Default: NAME-recipe.")
@click.option("--name", help="Name of the recipe. Default: the run's folder.")
@click.option("--author", help="Who is to be named.")
@click.option("--licence", "--license", help="As the hub names it, for example apache-2.0.")
def export(
    output_dir: Path, to: Path | None, name: str | None, author: str | None, licence: str | None
) -> None:
    """Make a recipe of the run in OUTPUT_DIR."""
    with one_clear_error():
        from axolotl_dmt.recipe_export import check_author
        from axolotl_dmt.recipe_export import export as make
        from axolotl_dmt.recipe_source import RecipeFiles
        from axolotl_dmt.recipes import read_recipe, save_files

        for option, value in (("--name", name), ("--author", author), ("--licence", licence)):
            check_author(value, option)
        files, cleaned = make(output_dir, name=name, author=author, licence=licence)
        folder = save_files(files, to or Path(f"{name or output_dir.resolve().name}-recipe"))
        click.echo(f"wrote {folder}: {', '.join(files)}")
        for key in cleaned.dropped:
            click.echo(f"left out: {key}")
        for place, what in cleaned.needs.items():
            click.echo(f"placeholder: {place} ({what})")
        for finding in read_recipe(RecipeFiles(name=folder.name, files=files)).findings:
            click.echo(f"others will need --trust: {finding}")
        if licence is None:
            click.echo("no licence given: others may not know what they may do (--licence)")


@recipe.command()
@click.argument("source")
def check(source: str) -> None:
    """Check a recipe: is it sound, and does it do no harm?

    SOURCE is as for `recipe use`.
    """
    with one_clear_error():
        found = _read(source)
        _refuse_findings(found, "take it out; who uses the recipe needs --trust")
        click.echo(f"{found.name}: sound, nothing in it needs --trust")


@recipe.command()
@click.argument("source")
def show(source: str) -> None:
    """Show what a recipe is, and what in it needs the user's word.

    SOURCE is as for `recipe use`.
    """
    with one_clear_error():
        from rich.console import Console

        from axolotl_dmt.recipe_view import recipe_parts

        found = _read(source)
        console = Console()
        for part in recipe_parts(found):
            console.print(part)


@recipe.command()
@click.argument("source")
@click.option("--to", type=click.Path(path_type=Path), help="A new folder. Default: its name.")
@click.option("--trust", is_flag=True, help="Take it with all that may do harm.")
def use(source: str, to: Path | None, trust: bool) -> None:
    """Take over a recipe into a new folder; nothing of it runs.

    SOURCE is a folder, a zip, a YAML, https://..., hf://user/repository[@revision], or a name that
    `axolotl dmt recipe list` shows.
    """
    with one_clear_error():
        from axolotl_dmt.recipes import YAML_FILE, save_files

        found, installed = _found(source)
        if not (trust or installed):
            _refuse_findings(found, _TRUST)
        files = {YAML_FILE if n == found.yaml_name else n: data for n, data in found.files.items()}
        folder = save_files(files, to or Path(found.name))
        for finding in found.findings:
            click.echo(f"trusted: {finding}")
        for name in found.left_out:
            click.echo(f"left out: {name!r} (no file that a recipe needs)")
        for place, what in found.card.needs.items() if found.card else ():
            click.echo(f"bring {_one_line(place)}: {_one_line(what)}")
        click.echo(f"wrote {folder}; next: cd {folder} && axolotl dmt check {YAML_FILE}")


@recipe.command()
@click.argument("source")
@click.argument("repository")
@click.option("--private", is_flag=True, help="A repository that only you see.")
def push(source: str, repository: str, private: bool) -> None:
    """Upload a recipe to REPOSITORY (user/name) on the Hugging Face hub.

    SOURCE is as for `recipe use`; it needs the card that `recipe export` writes.
    """
    with one_clear_error():
        from axolotl_dmt.recipe_push import push as upload

        found = _read(source)
        for finding in found.findings:
            click.echo(f"others will need --trust: {finding}")
        click.echo(upload(found, repository, private=private))
        click.echo(f"others get it with: axolotl dmt recipe use hf://{repository}")


@recipe.command(name="list")
def list_gallery() -> None:
    """List the built-in recipes, and those of installed packages."""
    with one_clear_error():
        from rich.console import Console
        from rich.table import Table

        from axolotl_dmt.recipes import headline, known_recipes

        table = Table("recipe", "what it is for", box=None, pad_edge=False)
        for name, path in known_recipes().items():
            table.add_row(name, headline(path))
        Console().print(table)
        click.echo("axolotl dmt recipe use NAME copies one")


def _read(source: str) -> Recipe:
    return _found(source)[0]


def _found(source: str) -> tuple[Recipe, bool]:
    """The recipe, and whether it came with an installed package."""
    from axolotl_dmt.recipe_source import load
    from axolotl_dmt.recipes import known_recipes, read_recipe

    if "://" not in source and not Path(source).exists():
        known = known_recipes()
        if source in known:
            return read_recipe(load(str(known[source]))), True
        if close := difflib.get_close_matches(source, known, n=1):
            problem = f"no folder, file or recipe {source}"
            raise DMTError("SOURCE", problem, f"did you mean {close[0]}?")
    return read_recipe(load(source)), False


def _one_line(text: str) -> str:
    """A stranger's text without control characters."""
    return "".join(char if char.isprintable() else "�" for char in text)


def _refuse_findings(found: Recipe, fix: str) -> None:
    if found.findings:
        raise DMTErrors([DMTError(f.key, f.problem, fix) for f in found.findings])
