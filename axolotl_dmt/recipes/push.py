"""Uploads a recipe to the Hugging Face Hub."""

from __future__ import annotations

import re

from axolotl_dmt.errors import DMTError, first_line
from axolotl_dmt.recipes.recipe import CARD_FILE, Recipe
from axolotl_dmt.results.secrets import holds_secret


def push(recipe: Recipe, repository: str, *, private: bool) -> str:
    """Upload the files of a recipe, and no other file of its folder, in one commit.

    Args:
        recipe: the recipe to upload.
        repository: `user/name`; created if it does not exist.
        private: whether a new repository is private.

    Returns:
        The URL of the commit.

    Raises:
        DMTError: the name is not valid, a file contains a secret, the card is missing, or the Hub
            refuses the upload.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise DMTError("REPOSITORY", f"{repository!r} is not a repository name", "write user/name")
    secrets = [f.key for f in recipe.findings if f.secret]
    secrets += [name for name, data in recipe.files.items() if _holds_secret(name, data)]
    if secrets:
        raise DMTError(secrets[0], "contains what looks like a secret", "remove it first")
    if CARD_FILE not in recipe.files:
        fix = "create the folder with axolotl dmt recipe export"
        raise DMTError("SOURCE", f"{recipe.name} has no {CARD_FILE}", fix)
    additions = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=data)
        for name, data in recipe.files.items()
    ]
    api = HfApi()
    try:
        api.create_repo(repository, private=private or None, exist_ok=True)
        commit = api.create_commit(
            repository, additions, commit_message=f"axolotl-dmt recipe {recipe.name}"
        )
    except Exception as error:  # the Hub client raises exceptions of several libraries
        raise DMTError("REPOSITORY", first_line(error), "log in with: hf auth login") from None
    return str(commit.commit_url)


def _holds_secret(name: str, data: bytes) -> bool:
    # The compressed bytes of a picture may look like anything.
    return not name.endswith(".png") and holds_secret(data.decode("utf-8", errors="replace"))
