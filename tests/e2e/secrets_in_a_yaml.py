"""Secrets at every place of a YAML that can hold one, for a search of the files of a run."""

from __future__ import annotations

from itertools import count
from typing import Any

import yaml

from tests.results.test_secrets import SECRET_KEYS, TOKENS

PLAIN = "orange-river-"
"""The start of each secret without a form of its own: only its place shows what it is."""
NUMBER = 998877665
"""A password that is a number."""


def planted(settings: dict[str, Any]) -> str:
    """Return a YAML of the settings and of secrets that neither stop nor change the run.

    Its datasets share an anchor.
    """
    names = (f"{PLAIN}{number}" for number in count())
    tokens = [*TOKENS.values()]
    settings["dmt"]["evaluate"]["model_args"] = {
        **{key: next(names) for key in SECRET_KEYS},
        **{f"setting_{number}": token for number, token in enumerate(tokens)},
    }
    settings["datasets"][0]["storage_options"] = {"account": next(names)}
    more = {
        "mlflow_tracking_uri": f"https://me:{next(names)}@host/?token={next(names)}",
        "otel_metrics_host": f"https://me:{next(names)}@host",
        "default_system_message": f"Call {tokens[1]} first.",
        "x_vault": {"password": next(names), "pwd": NUMBER, "of": [{"api-key": next(names)}]},
        "x_headers": {"headers": {"x": next(names)}},
    }
    comments = [
        f"# comet_api_key: {next(names)}",
        f"# see https://me:{next(names)}@host/a?sig={next(names)} and {tokens[3]}",
    ]
    text = yaml.safe_dump({**settings, **more}, sort_keys=False)
    text = text.replace("- path:", "- <<: *entry\n  path:")
    return "\n".join(["x-entry: &entry {split: train}", text, *comments]) + "\n"


def secrets() -> list[str]:
    """Return what must not be found of the secrets in any file."""
    tokens = (max(token.replace("=", " ").split(), key=len) for token in TOKENS.values())
    return [PLAIN, str(NUMBER), *tokens]
