"""Masks passwords, tokens and keys in settings, so that none is written or uploaded.

A masked value keeps its key, so that a reader sees that something was set. `masked` is applied to
everything that a run writes: its results, its copy of the YAML, its report and its recipe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from axolotl_dmt.results.secret_values import MASK, holds_secret, masked_text

__all__ = [
    "MASK",
    "holds_secret",
    "masked",
    "masked_text",
    "names_secret",
    "without_masked",
]

_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_SECRET_WORD: Final = re.compile(
    r"apikey|authkey|authtoken|accesskey|bearer|cookies?|credentials?|passphrase|passwd|passwords?"
    r"|pwd|secrets?|secretkey|webhook"
)
"""A key names a secret if this matches one of its words, or two neighbours written as one."""
_SECRET_NAME: Final = re.compile(
    r"auth|authorization|conn(ection)?_str(ing)?|connectionstring|dsn|keys?|pat|pin|pw|sas(_url)?"
    r"|signature|token|tokens_file"
)
"""A key with one of these names holds a secret."""
_LAST_WORDS: Final = frozenset(("token", "key", "auth", "signature"))
"""A key of several words that ends in one of these names a secret, unless it is `_HARMLESS`."""
_HARMLESS: Final = re.compile(
    r"(pad|bos|eos|unk|sep|cls|mask|eot|think_end|think_start|image|video|audio|boi|eoi|tool\w*)_token"
    r"|template_thinking_key|\w*_thinking_key|routed_by_key|sort_key|group_by_key|join_key"
)
"""Names of Axolotl and transformers that end in one of these words and hold no secret."""
_CHOSEN_BY_USER: Final = re.compile(
    r"(mix|keep|improve|select|val_rows|data|domains|prompt|sequence|overrides|special_tokens|roles"
    r"|added_tokens_overrides|message_property_mappings|lora_(rank|alpha)_pattern|redraw|max_repeats)"
)
"""Mappings whose keys are names of domains, abilities or tokens: `mix: {password_reset: 1/8}`."""
_PRIVATE: Final = re.compile(r"storage_options|(extra_|http_|default_)?headers|env(ironment)?")
"""Mappings whose texts are all masked, because they hold whatever a service asks for."""
_NAMES: Final = re.compile(
    r"path|paths|name|base_model\w*|tokenizer_config|data_files|\w*_dir|\w*_path|\w*revision\w*|split"
    r"|type|type_of_model|model_type|plugins|hooks|commit|\w*fingerprint|digests?|content|version"
)
"""Keys of names, paths and digests, in which a random run of characters is no secret."""


def masked(value: Any, key: str = "") -> Any:
    """Return a plain copy of nested settings with each secret replaced by `MASK`.

    Only text can be a secret: a flag such as `hf_use_auth_token: true` is not one.

    Args:
        value: a value of JSON or YAML.
        key: the key that it belongs to.
    """
    return _masked(value, key, by_name=True, private=False)


def _masked(value: Any, key: str, *, by_name: bool, private: bool) -> Any:
    """Mask a value; `by_name` says whether its key can name a secret."""
    private = private or bool(_PRIVATE.fullmatch(key))
    if isinstance(value, Mapping):
        named = not _CHOSEN_BY_USER.fullmatch(key)
        secret = by_name and not private and names_secret(key)
        return {
            name if not isinstance(name, str) else masked_text(name): _masked(
                item, str(name) if named else "", by_name=named, private=private or secret
            )
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_masked(item, key, by_name=by_name, private=private) for item in value]
    if isinstance(value, bytes):
        return MASK
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return MASK if by_name and _is_password(key) else value
    if not isinstance(value, str) or not value or value == MASK:
        return value
    if private or (by_name and names_secret(key)):
        return MASK
    return masked_text(value, random_runs=not _NAMES.fullmatch(key))


def names_secret(key: str) -> bool:
    """Return whether a key names a secret, such as `api-key`, `clientSecret` or `hub_token`."""
    words = _words(key)
    name = "_".join(words)
    if _HARMLESS.fullmatch(name):
        return False
    return (
        bool(_SECRET_NAME.fullmatch(name))
        or _is_password(key)
        or (len(words) > 1 and words[-1] in _LAST_WORDS)
    )


def _is_password(key: str) -> bool:
    """Return whether one of the words of a key can only mean a secret, which may be a number."""
    words = _words(key)
    neighbours = [first + second for first, second in pairwise(words)]
    return any(_SECRET_WORD.fullmatch(word) for word in (*words, *neighbours))


def _words(key: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(key)]


def without_masked(value: Any) -> Any:
    """Return settings without the entries that were masked, for a program that acts on them."""
    if isinstance(value, Mapping):
        return {key: without_masked(item) for key, item in value.items() if item != MASK}
    if isinstance(value, list):
        return [without_masked(item) for item in value if item != MASK]
    return value
