"""Finds passwords, tokens and keys in a text by their form.

Most forms are those of `detect-secrets`. The patterns of this module add services that it does not
know, and a rule for random strings of unknown services.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

MASK: Final = "***"
"""What takes the place of a secret."""

_DETECTORS: Final = {
    "artifactory": "ArtifactoryDetector",
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "cloudant": "CloudantDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "jwt": "JwtTokenDetector",
    "mailchimp": "MailchimpDetector",
    "openai": "OpenAIDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "softlayer": "SoftlayerDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "telegram_token": "TelegramBotTokenDetector",
    "twilio": "TwilioKeyDetector",
}
"""{module: class} of the detectors of `detect-secrets` that know the form of a service's tokens."""

_FORMS: Final = re.compile(
    r"\b(?:hf|api_org)_[A-Za-z0-9]{30,}"  # Hugging Face
    r"|\bsk-[\w-]*?(?:[A-Za-z0-9]{20,}|(?=[A-Za-z]*\d)[A-Za-z0-9]{16,})[\w-]*"  # OpenAI, Anthropic
    r"|\b(?:gsk|r8|npm|rpa|glsa|dckr_pat|lsv2_pt|lsv2_sk|github_pat|gh[pousr]|fw|wandb_v1|shpat"
    r"|dop_v1|sbp|vercel|phc|hvs)[_.][A-Za-z0-9_-]{20,}"
    r"|\b(?:nvapi|xai|pplx|glpat|tskey|key|GOCSPX|pypi|rk|tvly|jina|dapi)-?[A-Za-z0-9]{24,}[\w-]*"
    r"|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}"  # Google
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS
    r"|\bxox[a-z]-[\w-]{10,}"  # Slack
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"  # a JSON web token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:[Bb]earer|[Bb]asic)\s+[\w.+/=~-]{12,}"
    r"|(?<=AccountKey=)[^;\s]{8,}|(?<=SharedAccessKey=)[^;\s]{8,}|(?<=SharedAccessSignature=)\S{8,}"
    r"|(?i:(?<=password=)|(?<=passwd=)|(?<=pwd=)|(?<=secret=)|(?<=token=)|(?<=api_key=)"
    r"|(?<=apikey=))[^;&\s'\"]{4,}"
)

_WEBHOOK: Final = re.compile(
    r"(https://(?:hooks\.slack\.com/(?:services|workflows)|(?:\w+\.)?discord(?:app)?\.com/api/webhooks"
    r"|[\w.-]+\.webhook\.office\.com|hooks\.zapier\.com|maker\.ifttt\.com"
    r"|api\.telegram\.org/bot))[^\s'\"]*"
)
_URL: Final = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_SECRET_PARAMETER: Final = re.compile(
    r"(?i)sig(nature)?$|token|secret|passw|pwd|key|auth|credential|session|^x-(amz|goog)-|^code$"
)
_RUN: Final = re.compile(r"[A-Za-z0-9]{20,}")
_CHANGES: Final = re.compile(r"(?<=[a-z])[A-Z0-9]|(?<=[A-Z])[0-9]|(?<=[0-9])[A-Za-z]")
"""A change between small letters, capitals and digits, except from a capital to small letters."""
RANDOM_FROM: Final = 0.28
"""The rate of changes per character from which a run with a digit counts as random.

Random letters and digits have 0.45, random hexadecimal digits 0.47; names of models such as
`Qwen25Coder32BInstructGPTQ` stay below 0.22.
"""


@cache
def _detectors() -> tuple[Any, ...]:
    return tuple(
        getattr(import_module(f"detect_secrets.plugins.{module}"), name)()
        for module, name in _DETECTORS.items()
    )


def holds_secret(text: str) -> bool:
    """Return whether a text contains something with the form of a password, a token or a key."""
    return masked_text(text) != text


def masked_text(text: str, *, random_runs: bool = False) -> str:
    """Return a text with every password, token and key replaced by `MASK`.

    A URL loses its user and password, and a query or fragment that could authorise its reader. A
    value that is a URL as a whole loses any query and fragment.

    Args:
        text: the text.
        random_runs: also replace runs of 20 or more letters and digits that look random, such as
            keys of services that this module does not know.
    """
    whole = _URL.fullmatch(text.strip()) is not None
    text = _URL.sub(lambda url: _plain_url(url[0], whole=whole), text)
    text = _WEBHOOK.sub(rf"\1/{MASK}", text)
    text = _FORMS.sub(MASK, text)
    for found in sorted(set(_detected(text)), key=len, reverse=True):
        text = text.replace(found, MASK)
    return (
        _RUN.sub(lambda run: MASK if is_random(run[0]) else run[0], text) if random_runs else text
    )


def is_random(run: str) -> bool:
    """Return whether a run of letters and digits looks random rather than like words."""
    changes = len(_CHANGES.findall(run))
    return changes >= RANDOM_FROM * len(run) and any(char.isdigit() for char in run)


def _detected(text: str) -> Iterator[str]:
    for detector in _detectors():
        yield from (found for found in detector.analyze_string(text) if found)


def _plain_url(url: str, *, whole: bool) -> str:
    """Return a URL without its user and password, and without a query that could be secret."""
    try:
        parts = urlsplit(url)
    except ValueError:  # an invalid host, which no program could open
        return MASK
    host = parts.netloc.rpartition("@")[2]
    query, fragment = parts.query, parts.fragment
    names = [name for name, _ in parse_qsl(f"{query}&{fragment}", keep_blank_values=True)]
    if whole or any(_SECRET_PARAMETER.search(name) for name in names):
        query = fragment = ""
    if (host, query, fragment) == (parts.netloc, parts.query, parts.fragment):
        return url  # as it was spelt
    return urlunsplit((parts.scheme, host, parts.path, query, fragment))
