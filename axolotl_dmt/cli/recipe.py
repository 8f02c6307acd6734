"""`axolotl dmt recipe ...`: share a run, inspect somebody else's recipe, use it."""

from __future__ import annotations

import itertools
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError, DMTErrors, closest

if TYPE_CHECKING:
    from axolotl_dmt.recipes.recipe import Recipe


@click.group()
def recipe() -> None:
    """Share runs as recipes, and use those of others.

    A recipe is data. Settings that could do harm are listed, and need --trust.
    """


@recipe.command()
@click.argument("output_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to", type=click.Path(path_type=Path), help="The folder to create.  [default: NAME-recipe]"
)
@click.option("--name", help="The recipe's name.  [default: the name of OUTPUT_DIR]")
@click.option("--author", help="The author named on the card.")
@click.option(
    "--licence",
    "--license",
    help="The licence, by its identifier on the Hub, for example apache-2.0.",
)
def export(
    output_dir: Path, to: Path | None, name: str | None, author: str | None, licence: str | None
) -> None:
    """Export the run in OUTPUT_DIR as a recipe."""
    from axolotl_dmt.recipes.export import check_card_text
    from axolotl_dmt.recipes.export import export as export_files
    from axolotl_dmt.recipes.fetch import RecipeFiles
    from axolotl_dmt.recipes.recipe import read_recipe, save_files

    for option, value in (("--name", name), ("--author", author), ("--licence", licence)):
        check_card_text(value, option)
    files, cleaned = export_files(output_dir, name=name, author=author, licence=licence)
    folder = save_files(files, to or Path(f"{name or output_dir.resolve().name}-recipe"))
    echo(f"wrote {folder}: {', '.join(files)}")
    for key in cleaned.dropped:
        echo(f"left out: {key}")
    for key in cleaned.masked:
        echo(f"masked: {key}, which looks like a secret")
    for placeholder, description in cleaned.needs.items():
        echo(f"placeholder: {placeholder} ({description})")
    _warn_of_findings(read_recipe(RecipeFiles(name=folder.name, files=files)))
    if licence is None:
        echo("no licence: others cannot tell what they may do with it; add --licence")


@recipe.command()
@click.argument("source")
def check(source: str) -> None:
    """Check that a recipe is valid and harmless.

    For SOURCE, see `recipe use`. Exits with code 2 if it is not.
    """
    loaded, _ = _load(source)
    _refuse_findings(loaded, "remove it, or users of the recipe need --trust")
    echo(f"{loaded.name}: valid, and nothing in it needs --trust")


@recipe.command()
@click.argument("source")
def show(source: str) -> None:
    """Show a recipe and the settings in it that need --trust.

    For SOURCE, see `recipe use`.
    """
    from axolotl_dmt.recipes.show import recipe_parts
    from axolotl_dmt.report.console import Console

    loaded, _ = _load(source)
    console = Console()
    for part in recipe_parts(loaded):
        console.print(part)


@recipe.command()
@click.argument("source")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="The folder to create.  [default: the recipe's name, with a number where it is taken]",
)
@click.option("--trust", is_flag=True, help="Accept settings that could do harm.")
def use(source: str, to: Path | None, trust: bool) -> None:
    """Copy a recipe into a new folder, without running anything.

    SOURCE is a folder, a zip file, a YAML file, an https:// address of one of these files,
    hf://user/repository[@revision], or a name from `axolotl dmt recipe list`.
    """
    from axolotl_dmt.recipes.recipe import YAML_FILE, save_files

    loaded, installed = _load(source)
    if not (trust or installed):
        _refuse_findings(loaded, "add --trust if you know the author, or remove it")
    files = {YAML_FILE if n == loaded.yaml_name else n: data for n, data in loaded.files.items()}
    folder = save_files(files, to or _free_folder(loaded.name))
    for finding in loaded.findings:
        echo(f"trusted: {finding}")
    for name in loaded.left_out:
        echo(f"left out: {name!r} (not a kind of file that recipes contain)")
    for placeholder, description in loaded.card.needs.items() if loaded.card else ():
        echo(f"provide {placeholder}: {description}")
    echo(f"wrote {folder}; next: cd {shlex.quote(str(folder))} && axolotl dmt check {YAML_FILE}")


@recipe.command()
@click.argument("source")
@click.argument("repository")
@click.option("--private", is_flag=True, help="Make the new repository private.")
def push(source: str, repository: str, private: bool) -> None:
    """Upload a recipe to the Hugging Face Hub.

    REPOSITORY is user/name. For SOURCE, see `recipe use`; it needs the card (README.md) that
    `recipe export` writes.
    """
    from axolotl_dmt.recipes.push import push as upload

    loaded, _ = _load(source)
    _warn_of_findings(loaded)
    echo(upload(loaded, repository, private=private))
    echo(f"to use it: axolotl dmt recipe use hf://{repository}")


@recipe.command(name="list")
def list_gallery() -> None:
    """List the built-in recipes and those of installed packages."""
    from axolotl_dmt.cli.listings import print_recipes

    print_recipes()
    echo("copy one with: axolotl dmt recipe use NAME")


def _free_folder(name: str) -> Path:
    """Return a folder named after a recipe that does not exist yet, or is empty."""
    stem = name.removesuffix("-recipe") or name
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(
        folder
        for folder in map(Path, names)
        if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir()))
    )


def _load(source: str) -> tuple[Recipe, bool]:
    """Return the recipe, and whether it is part of an installed package."""
    from axolotl_dmt.recipes.fetch import load
    from axolotl_dmt.recipes.recipe import known_recipes, read_recipe

    if "://" not in source and not Path(source).exists():
        recipes = known_recipes()
        if source in recipes:
            return read_recipe(load(str(recipes[source]), installed=True)), True
        if close := closest(source, recipes):
            problem = f"no folder, file or recipe {source}"
            raise DMTError("SOURCE", problem, f"did you mean {close}?")
    return read_recipe(load(source)), False


def _warn_of_findings(loaded: Recipe) -> None:
    for finding in loaded.findings:
        echo(f"users will need --trust: {finding}")


def _refuse_findings(loaded: Recipe, fix: str) -> None:
    if loaded.findings:
        raise DMTErrors([DMTError(f.key, f.problem, fix) for f in loaded.findings])
