"""The log of a run: Axolotl's, without secrets, and without control characters in our messages.

If `console.wants_quiet()`, the terminal shows Axolotl's warnings and our messages only; `debug.log`
still has all of them.
"""

from __future__ import annotations

import json
import logging
from typing import Final

from axolotl.utils.logging import get_logger
from axolotl.utils.tee import file_only_stream

from axolotl_dmt.console import clean_records, wants_quiet
from axolotl_dmt.files import parse_json
from axolotl_dmt.results.secrets import MASK, masked, masked_text

LOG = get_logger("axolotl_dmt")
clean_records(logging.getLogger("axolotl_dmt"))

CONFIG_LOGGER: Final = "axolotl.cli.config"
CONFIG_START: Final = "config:\n"
"""The logger and the first words of the message in which Axolotl prints the whole configuration."""
ADVICE: Final = "Processing datasets during training"
"""The first words of a warning that Axolotl logs for each dataset."""


def mask_logged_secrets() -> None:
    """Mask secrets in all messages that the handlers of Axolotl's log write, now and later.

    Axolotl writes its messages to the terminal and to `OUTPUT_DIR/debug.log`, the whole
    configuration among them.
    """
    for logger in (logging.getLogger(), logging.getLogger("axolotl")):
        for handler in logger.handlers:
            if _without_secrets not in handler.filters:
                handler.addFilter(_without_secrets)


def quieten_terminal() -> None:
    """Keep Axolotl's log off the terminal, except warnings and our messages, if `wants_quiet()`."""
    if not wants_quiet():
        return
    for handler in logging.getLogger("axolotl").handlers:
        to_terminal = getattr(handler, "stream", None) is not file_only_stream
        if to_terminal and _is_for_users not in handler.filters:
            handler.addFilter(_is_for_users)


def _is_for_users(record: logging.LogRecord) -> bool:
    is_ours = record.name.startswith("axolotl_dmt")
    return is_ours or (record.levelno >= logging.WARNING and ADVICE not in str(record.msg))


def _without_secrets(record: logging.LogRecord) -> bool:
    try:
        message = record.getMessage()
    except (TypeError, ValueError):  # its arguments do not fit, which its handler reports
        return True
    is_config = record.name == CONFIG_LOGGER and message.startswith(CONFIG_START)
    shown = _masked_config(message) if is_config else masked_text(message)
    if shown != message:
        record.msg, record.args = shown, None
    return True


def _masked_config(message: str) -> str:
    try:
        config = masked(parse_json(message.removeprefix(CONFIG_START)))
    except ValueError:
        return f"{CONFIG_START}{MASK}"
    return CONFIG_START + json.dumps(config, indent=2, sort_keys=True)
