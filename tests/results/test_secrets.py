"""Secrets of every form are masked wherever settings hold them; ordinary names are not."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import pytest

from axolotl_dmt.results.results import EVALUATE, SOURCES, Results
from axolotl_dmt.results.secrets import MASK, masked, masked_text, without_masked

ALPHABET = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
DRAW = random.Random(7)


def drawn(length: int, alphabet: str = ALPHABET) -> str:
    return "".join(DRAW.choice(alphabet) for _ in range(length))


PLAIN = "orange-river-4"
"""A secret without any form of its own: only its key shows what it is."""

SECRET_KEYS = [
    "token",
    "api-key",
    "api_key",
    "apiKey",
    "private_key",
    "pwd",
    "passphrase",
    "password",
    "auth",
    "authorization",
    "bearer",
    "deploy_key",
    "service_account_key",
    "connection_string",
    "client_secret",
    "clientSecret",
    "hub_token",
    "comet_api_key",
    "db_passwd",
    "access_key",
    "aws_secret_access_key",
    "sas",
    "dsn",
    "signature",
    "session_token",
    "HF-Token",
    "cookie",
    "webhook",
]

TOKENS = {
    "hugging face": f"hf_{drawn(34)}",
    "openai": f"sk-{drawn(48)}",
    "openai project": f"sk-proj-{drawn(40)}_{drawn(60)}",
    "anthropic": f"sk-ant-api03-{drawn(86)}-AA",
    "github": f"ghp_{drawn(36)}",
    "github fine-grained": f"github_pat_{drawn(22)}_{drawn(59)}",
    "gitlab": f"glpat-{drawn(20)}",
    "aws": "AKIA" + drawn(16, string.ascii_uppercase + string.digits),
    "google": f"AIza{drawn(35)}",
    "google oauth": f"ya29.{drawn(60)}",
    "slack": f"xoxb-123456789012-{drawn(24)}",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9Pl",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
    "groq": f"gsk_{drawn(52)}",
    "nvidia": f"nvapi-{drawn(64)}",
    "replicate": f"r8_{drawn(37)}",
    "databricks": f"dapi{drawn(32, HEX)}",
    "sendgrid": f"SG.{drawn(22)}.{drawn(43)}",
    "stripe": f"sk_live_{drawn(24)}",
    "npm": f"npm_{drawn(36)}",
    "pypi": f"pypi-AgEIcHlwaS5vcmc{drawn(70)}",
    "telegram": f"1234567890:{drawn(35)}",
    "twilio": f"SK{drawn(32, HEX)}",
    "weights and biases": drawn(40, HEX),
    "an unknown service": drawn(32),
    "azure": f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={drawn(86)}==",
    "header": f"Bearer {drawn(30)}",
}

URLS = {
    "https://me:orange-river-4@host/x.jsonl": "https://host/x.jsonl",
    "postgres://me:orange-river-4@db:5432/runs": "postgres://db:5432/runs",
    "https://b.s3.amazonaws.com/x.jsonl?X-Amz-Signature=orange-river-4": (
        "https://b.s3.amazonaws.com/x.jsonl"
    ),
    "https://a.blob.core.windows.net/c/x.parquet?sv=2024&sig=orange-river-4#p": (
        "https://a.blob.core.windows.net/c/x.parquet"
    ),
    "https://hooks.slack.com/services/T0/B0/orange-river-4": (
        f"https://hooks.slack.com/services/{MASK}"
    ),
    "https://discord.com/api/webhooks/1/orange-river-4": f"https://discord.com/api/webhooks/{MASK}",
    "read https://a.b/c?token=orange-river-4 first": "read https://a.b/c first",
}


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_a_key_that_names_a_secret_has_its_value_masked(key: str) -> None:
    settings = {"model_args": {key: PLAIN}, key: [PLAIN], "more": [{key: {"value": PLAIN}}]}
    assert PLAIN not in json.dumps(masked(settings))
    assert masked(settings).keys() == settings.keys()
    assert masked(PLAIN, key) == MASK


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_a_token_is_masked_under_any_key_and_within_a_text(token: str) -> None:
    core = max(token.split("="), key=len) if "AccountKey" in token else token.split()[-1]
    settings = {"note": f"use {token} here", "anything": token, "list": [token]}
    assert core not in json.dumps(masked(settings))


@pytest.mark.parametrize(("url", "expected"), URLS.items())
def test_a_url_loses_what_could_authorise_its_reader(url: str, expected: str) -> None:
    assert masked({"path": url}) == {"path": expected}


def test_a_query_without_a_secret_stays_within_a_text_and_goes_from_a_url() -> None:
    text = "See https://example.org/page?id=7#top for the rules."
    assert masked_text(text) == text
    assert masked_text("https://example.org/page?id=7#top") == "https://example.org/page"


@pytest.mark.parametrize("key", ["storage_options", "headers", "env"])
def test_texts_of_private_mappings_are_masked_whatever_their_keys(key: str) -> None:
    settings = {key: {"account": PLAIN, "anon": False, "port": 1}}
    assert masked(settings) == {key: {"account": MASK, "anon": False, "port": 1}}


HARMLESS: list[dict[str, Any]] = [
    {"datasets": [{"path": "data/sk-en-parallel-corpus.jsonl", "domain": "secretary"}]},
    {"base_model": "./hf_models0123456789abcdefgh"},
    {"gate": {"keep": {"password_reset": -0.02}, "improve": {"secrets": 0.01}}},
    {"mix": {"secretary": "all", "password_reset": "1/8", "token": "all"}},
    {"wandb_project": "sk-finetune-experiments-2"},
    {"special_tokens": {"pad_token": "<|end|>", "eos_token": "</s>"}, "tokens": ["<a>", "<b>"]},
    {"hf_use_auth_token": True, "include_tokens_per_second": True},
    {"base_model": "unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit"},
    {"name": "Qwen25Coder32BInstructGPTQ", "note": "TheQuickBrownFoxJumpsOverTheLazyDog"},
    {"revision": drawn(40, HEX), "plan_fingerprint": drawn(64, HEX)},
    {"default_system_message": "You keep secrets; your password policy is strict."},
    {"chat_template_jinja": "{% for m in messages %}{{ m['content'] }}{% endfor %}"},
    {"think_end_token": "</think>", "field_thinking": "x", "template_thinking_key": "thinking"},
    {"path": "https://huggingface.co/datasets/x/y/resolve/main/a.jsonl"},
    {"path": "s3://bucket/folder/a.parquet"},
    {"optimizer": "adamw_bnb_8bit", "lora_target_modules": ["q_proj", "v_proj"]},
    {"learning_rate": "2e-5", "k": "1/256", "seed": 3, "bf16": None},
]


@pytest.mark.parametrize("settings", HARMLESS, ids=lambda value: next(iter(value)))
def test_ordinary_names_are_no_secrets(settings: dict[str, Any]) -> None:
    assert masked(settings) == settings


def test_masking_twice_is_masking_once() -> None:
    settings = {"token": PLAIN, "list": [TOKENS["jwt"]], "path": next(iter(URLS))}
    assert masked(masked(settings)) == masked(settings)


def test_masked_entries_are_left_out_for_a_program_that_acts_on_them() -> None:
    settings = {"model_args": {"token": PLAIN, "dtype": "bfloat16"}, "list": [TOKENS["jwt"], 1]}
    assert without_masked(masked(settings)) == {"model_args": {"dtype": "bfloat16"}, "list": [1]}


def test_results_hold_no_secret_of_the_settings() -> None:
    results = Results(
        plan_fingerprint=drawn(64, HEX),
        stages=(),
        settings={"base_model": "https://me:orange-river-4@host/m"},
        extra={
            EVALUATE: {
                "model_args": {"token": PLAIN},
                "judge": {"base_url": f"http://h/?key={PLAIN}"},
            },
            SOURCES: {"datasets": [{"path": f"https://h/x?sig={PLAIN}", "revision": "a" * 40}]},
        },
    )
    assert PLAIN not in json.dumps(results.to_json())
    assert results.to_json()["plan_fingerprint"] == results.plan_fingerprint
    assert results.to_json()[SOURCES]["datasets"][0]["revision"] == "a" * 40
