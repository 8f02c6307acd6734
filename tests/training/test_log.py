"""Axolotl's log, on the terminal and in debug.log, holds no secret of a run's YAML."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from axolotl_dmt.console import VARIABLE
from axolotl_dmt.results.secrets import MASK
from axolotl_dmt.training import log
from axolotl_dmt.training.log import CONFIG_LOGGER, mask_logged_secrets, quieten_terminal
from tests.results.test_secrets import TOKENS

CONFIG = {"base_model": "org/model", "hub_token": "orange-river-4", "micro_batch_size": 2}


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Give Axolotl's logger a handler of its own, and mask what it writes."""
    logger, stream = logging.getLogger("axolotl"), io.StringIO()
    handler, level = logging.StreamHandler(stream), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    mask_logged_secrets()
    mask_logged_secrets()  # a second run in the same process
    assert len(handler.filters) == 1
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_the_configuration_is_logged_with_its_secrets_masked(stream: io.StringIO) -> None:
    logger = logging.getLogger(CONFIG_LOGGER)
    logger.info("config:\n%s", json.dumps(CONFIG, indent=2))
    shown = json.loads(stream.getvalue().removeprefix("config:\n"))
    assert shown == {**CONFIG, "hub_token": MASK}
    logger.info("config:\n%s", "{not JSON orange-river-4")
    assert "orange-river-4" not in stream.getvalue()


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_a_token_in_any_other_message_is_masked(stream: io.StringIO, token: str) -> None:
    logging.getLogger("axolotl.utils.data").info("Loading %s of %d", f"use {token} here", 3)
    secret = max(token.replace("=", " ").split(), key=len)
    if token != TOKENS["an unknown service"] and token != TOKENS["weights and biases"]:
        assert secret not in stream.getvalue()


def test_other_messages_stay_as_they_are(stream: io.StringIO) -> None:
    logger = logging.getLogger("axolotl.utils.data")
    logger.info("Loading %s, see https://example.org/page?id=7", "data/sk-en.jsonl")
    assert stream.getvalue() == "Loading data/sk-en.jsonl, see https://example.org/page?id=7\n"


@pytest.mark.parametrize(("value", "shown"), [("1", ["ours", "careful"]), ("0", None)])
def test_a_variable_keeps_axolotls_messages_off_the_terminal_but_not_out_of_the_file(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, value: str, shown: list[str] | None
) -> None:
    logger, file = logging.getLogger("axolotl"), io.StringIO()
    (terminal,) = (h for h in logger.handlers if getattr(h, "stream", None) is stream)
    to_file = logging.StreamHandler(file)
    monkeypatch.setattr(log, "file_only_stream", file)
    monkeypatch.setenv(VARIABLE, value)
    logger.addHandler(to_file)
    quieten_terminal()
    logging.getLogger("axolotl.train").info("theirs")
    logging.getLogger("axolotl.utils.data.sft").warning(f"{log.ADVICE} can lead to")
    logging.getLogger("axolotl.train").warning("careful")
    terminal.handle(logging.makeLogRecord({"name": "axolotl_dmt", "msg": "ours"}))
    logger.removeHandler(to_file)
    everything = ["theirs", f"{log.ADVICE} can lead to", "careful"]
    assert file.getvalue().split("\n")[:-1] == everything
    assert sorted(stream.getvalue().split("\n")[:-1]) == sorted(shown or [*everything, "ours"])
