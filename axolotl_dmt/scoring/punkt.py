"""nltk's `punkt_tab`, with which two of IFEval's checkers count sentences and words."""

from __future__ import annotations

import io
import logging
import os
import socket
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

PUNKT_HINT = (
    "nltk's punkt_tab is missing and could not be downloaded; install it with "
    "`python -m nltk.downloader punkt_tab`"
)
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
SECONDS = 30.0
"""How long a server may be silent before the download is given up."""

log = logging.getLogger(__name__)


def has_punkt() -> bool:
    """Return whether nltk's `punkt_tab` data is installed."""
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab/english/")
    except (LookupError, OSError):
        return False
    return True


def fetch_punkt() -> bool:
    """Download `punkt_tab` as lm-eval does, unless it is installed or this machine is offline.

    Returns:
        Whether the data is installed now.
    """
    if has_punkt():
        return True
    if any(
        os.environ.get(name, "").lower() in {"1", "true", "yes", "on"} for name in OFFLINE_VARIABLES
    ):
        return False
    import nltk
    from filelock import FileLock

    timeout = socket.getdefaulttimeout()
    # Several processes of one machine must not unpack into the same folder at once.
    with FileLock(Path(tempfile.gettempdir(), f"axolotl-dmt-punkt-{os.getuid()}.lock")):
        if has_punkt():
            return True
        try:
            socket.setdefaulttimeout(SECONDS)
            with redirect_stdout(io.StringIO()):  # nltk prints errors in any case
                nltk.download("punkt_tab", quiet=True)
        except Exception as error:  # such as a full disk, or a server's reply that is no index
            log.debug("punkt_tab: %s", error)
        finally:
            socket.setdefaulttimeout(timeout)
    return has_punkt()
