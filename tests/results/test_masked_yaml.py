"""The text of a YAML loses its secrets and keeps its layout and its comments."""

from __future__ import annotations

import pytest
import yaml

from axolotl_dmt.results.masked_yaml import NOT_SHOWN, masked_yaml
from axolotl_dmt.results.secrets import MASK, masked
from tests.results.test_secrets import HARMLESS, SECRET_KEYS, TOKENS

TEXT = """\
# The run of May.
base_model: org/model   # as before
hf_use_auth_token: true
dmt:
  evaluate: {model_args: {token: orange-river-4, dtype: float32}}
password: 123456
pem_key: |
  -----BEGIN PRIVATE KEY-----
  orange-river-4
  -----END PRIVATE KEY-----
note: >-
  folded
  text
# wandb_api_key: orange-river-4
learning_rate: 2e-5   # not: secret = orange-river-4
private: &p {"api-key": "orange-river-4"}
again: {<<: *p, api-key: 'orange-river-4', api-key: orange-river-4}
"""


def test_secrets_go_and_everything_else_stays_as_it_was_written() -> None:
    shown = masked_yaml(TEXT)
    assert "orange-river-4" not in shown
    assert "123456" not in shown
    kept = [line for line in TEXT.splitlines() if "orange" not in line and "BEGIN" not in line]
    for line in ("# The run of May.", "base_model: org/model   # as before", "  folded"):
        assert line in kept and line in shown.splitlines()
    assert f"# wandb_api_key: {MASK}" in shown
    assert yaml.safe_load(shown) == masked(yaml.safe_load(TEXT))


@pytest.mark.parametrize("style", ["|", ">", "'", '"', None])
@pytest.mark.parametrize("secret", [*TOKENS.values(), "orange-river-4 and more"])
def test_a_secret_goes_in_every_style_of_yaml(secret: str, style: str | None) -> None:
    settings = {"api_key": secret, "note": f"a {secret} b", "list": [secret], "last": 1}
    text = yaml.dump(settings, default_style=style, width=40)
    shown = masked_yaml(text)
    expected = masked(yaml.safe_load(text))
    if secret in TOKENS.values():
        assert yaml.safe_load(shown) == expected
        assert secret not in " ".join(shown.split())
    assert yaml.safe_load(shown)["api_key"] == MASK


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_every_key_of_a_secret_is_seen_in_comments(key: str) -> None:
    assert "orange-river-4" not in masked_yaml(f"a: 1\n# {key}: orange-river-4\n")


@pytest.mark.parametrize("settings", HARMLESS, ids=lambda value: next(iter(value)))
def test_a_yaml_without_secrets_is_unchanged(settings: dict[str, object]) -> None:
    text = yaml.safe_dump(settings, sort_keys=False)
    assert masked_yaml(text) == text


def test_a_yaml_that_cannot_be_searched_is_not_shown() -> None:
    assert masked_yaml("a: [orange-river-4") == NOT_SHOWN
    assert masked_yaml("") == ""
