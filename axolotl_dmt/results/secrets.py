"""Recognises passwords, tokens and keys in a configuration, so that none is written or uploaded.

A heuristic: it knows the usual names of keys and the token formats of well-known services.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SECRET_KEY = re.compile(r"api_?key|secret|passw|credential|(access|auth|hub|hf)_token", re.I)
_SECRET_VALUE = re.compile(
    r"hf_[A-Za-z0-9]{20,}"  # Hugging Face
    r"|\bsk-[A-Za-z0-9_-]{16,}"  # OpenAI and compatible services
    r"|\bgh[a-z]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|\bxox[a-z]-[\w-]{10,}|\bAKIA[0-9A-Z]{16}\b"  # Slack, AWS
    r"|://[^/\s@]+@"  # a name and password in a URL
)


def is_secret(key: str | int, value: Any) -> bool:
    """Return whether an entry looks like a password, a token or a key.

    Only text can be a secret: a flag such as `hf_use_auth_token: true` is not one.
    """
    if not isinstance(value, str):
        return False
    return bool(_SECRET_KEY.search(str(key))) or holds_secret(value)


def holds_secret(text: str) -> bool:
    """Return whether a text contains a token of a well-known service, or a password in a URL."""
    return bool(_SECRET_VALUE.search(text))


def without_secrets(value: Any) -> Any:
    """Return a plain copy of nested settings without the entries that look like secrets."""
    if isinstance(value, Mapping):
        return {
            key: without_secrets(item)
            for key, item in value.items()
            if not is_secret(str(key), item)
        }
    if isinstance(value, (list, tuple)):
        return [without_secrets(item) for item in value if not is_secret("", item)]
    return value
