"""Uploading a recipe to the Hugging Face hub."""

from __future__ import annotations

import re

from axolotl_dmt.config_secrets import holds_secret
from axolotl_dmt.errors import DMTError
from axolotl_dmt.recipes import CARD_FILE, Recipe


def push(recipe: Recipe, repository: str, *, private: bool) -> str:
    """Upload a recipe's files, and nothing else of its folder, as one commit.

    Args:
        recipe: that was read.
        repository: `user/name`; made where there is none.
        private: make it a private one.

    Returns:
        The commit's address.

    Raises:
        DMTError: a name that is none, a secret in a file, or the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise DMTError("REPOSITORY", f"{repository!r} is no name", "write user/name")
    secrets = [f.key for f in recipe.findings if f.secret]
    secrets += [name for name, data in recipe.files.items() if holds_secret(data.decode("latin-1"))]
    if secrets:
        raise DMTError(secrets[0], "holds what looks like a secret", "take it out first")
    if CARD_FILE not in recipe.files:
        fix = "make the folder with axolotl dmt recipe export"
        raise DMTError("SOURCE", f"{recipe.name} has no {CARD_FILE}", fix)
    adds = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=data)
        for name, data in recipe.files.items()
    ]
    api = HfApi()
    try:
        api.create_repo(repository, private=private or None, exist_ok=True)
        commit = api.create_commit(
            repository, adds, commit_message=f"axolotl-dmt recipe {recipe.name}"
        )
    except Exception as error:  # the hub's client raises the errors of several libraries
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DMTError("REPOSITORY", f"{first}", "log in with: hf auth login") from None
    return str(commit.commit_url)
