"""`axolotl dmt init` and `axolotl dmt schema`: a YAML to start from, and help in an editor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from axolotl_dmt.checks.yaml_check import check_file
from axolotl_dmt.cli.init import billions, fit
from axolotl_dmt.cli.main import dmt
from tests.mistakes import assert_mistake

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted(ROOT.glob("yaml_templates/**/*.yaml"))
ROWS = {
    "math": {"question": "1+1?", "answer": "2"},
    "code": {"instruction": "f", "input": "", "output": "g"},
    "general": {"messages": [{"role": "user", "content": "hi"}]},
}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for domain, row in ROWS.items():
        Path(f"{domain}.jsonl").write_text(json.dumps(row) + "\n")


def init(*arguments: str, **keywords: Any) -> Result:
    return CliRunner().invoke(dmt, ["init", *arguments], **keywords)


def options(*domains: str) -> list[str]:
    return [part for domain in domains for part in ("--data", f"{domain}={domain}.jsonl")]


@pytest.mark.parametrize(
    ("gpu", "adapter", "four_bit"),
    [("0", None, None), ("141", None, None), ("24", "lora", None), ("12", "qlora", True)],
)
def test_what_init_writes_passes_the_check_and_fits_the_memory(
    gpu: str, adapter: str | None, four_bit: bool | None
) -> None:
    done = init(
        *("--base-model", "org/Llama-3-8B", "--gpu-memory", gpu),
        *options("math", "general"),
    )
    assert done.exit_code == 0, done.output
    written = yaml.safe_load(Path("dmt.yaml").read_text())
    assert (written.get("adapter"), written.get("load_in_4bit")) == (adapter, four_bit)
    assert check_file("dmt.yaml").mistakes == ()
    assert written["dmt"]["k"] == "1/256"


def test_the_type_of_a_dataset_follows_its_columns() -> None:
    init("--base-model", "org/m", "--gpu-memory", "24", *options("math", "code", "general"))
    types = [entry["type"] for entry in yaml.safe_load(Path("dmt.yaml").read_text())["datasets"]]
    assert types[0]["field_instruction"] == "question"
    assert types[1:] == ["alpaca", "chat_template"]


def test_questions_that_no_option_answers_are_asked() -> None:
    answers = "org/model\nmath.jsonl\nmath\ngeneral.jsonl\n\n\n80\n"
    done = init("sub/new.yaml", input=answers)
    assert done.exit_code == 0, done.output
    written = yaml.safe_load(Path("sub/new.yaml").read_text())
    assert [entry["domain"] for entry in written["datasets"]] == ["math", "general"]


def test_without_answers_the_error_names_the_options() -> None:
    done = init(input="")
    assert done.exit_code == 2
    message = done.stderr.partition("axolotl-dmt: ")[2].strip()
    assert_mistake(message, "init", "--base-model", "--data", "--gpu-memory")


def test_an_older_file_is_never_overwritten() -> None:
    Path("dmt.yaml").write_text("mine\n")
    done = init("--base-model", "org/m", "--gpu-memory", "24", *options("math"))
    assert done.exit_code == 2
    assert_mistake(done.output.strip(), "axolotl-dmt: dmt.yaml", "exists")
    assert Path("dmt.yaml").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (["--k", "3", *options("math", "general")], "dmt.k", "3"),
        (["--strategy", "dtm", *options("math", "general")], "--strategy", "'dtm'"),
        (["--general", "chat", *options("math")], "--general", "'chat'"),
        (["--data", "math.jsonl"], "--data", "'math.jsonl'"),
    ],
)
def test_an_invalid_answer_is_one_line(arguments: list[str], key: str, value: str) -> None:
    done = init("--base-model", "org/m", "--gpu-memory", "24", *arguments)
    assert done.exit_code == 2
    assert_mistake(done.output.strip(), f"axolotl-dmt: {key}", value)
    assert not Path("dmt.yaml").exists()


def test_one_domain_alone_is_a_strategy_too() -> None:
    init("--base-model", "org/m", "--gpu-memory", "24", *options("code"))
    block = yaml.safe_load(Path("dmt.yaml").read_text())["dmt"]
    assert (block["strategy"], block["domain"]) == ("single", "code")


@pytest.mark.parametrize(
    ("name", "size"),
    [("meta-llama/Llama-2-7b-hf", 7), ("Qwen/Qwen2.5-0.5B", 0.5), ("m-135M", 0.135), ("x", 7)],
)
def test_the_size_is_read_from_the_name(name: str, size: float) -> None:
    assert billions(name) == size


def test_more_memory_never_means_a_smaller_adapter() -> None:
    order = ["qlora", "lora", "full"]
    kinds = [order.index(fit(8, memory).adapter) for memory in range(1, 200)]
    assert kinds == sorted(kinds)
    assert set(kinds) == {0, 1, 2}


def schema() -> dict[str, Any]:
    return json.loads(CliRunner().invoke(dmt, ["schema"]).output)


def test_the_schema_is_valid_and_accepts_every_template() -> None:
    validator = jsonschema.validators.validator_for(schema())
    validator.check_schema(schema())
    for template in TEMPLATES:
        if "studies" not in template.parts:
            validator(schema()).validate(yaml.safe_load(template.read_text()))


@pytest.mark.parametrize(
    "block",
    [
        {"strategy": "dmt", "evalute": {}},
        {"strategy": "dmt", "evaluate": {"tasks": "dmt_suite"}},
        {"stages": [{"name": "a", "mix": {"math": {"lines": 3}}}]},
        {"stages": [{"mix": {"math": "all"}}]},
        {"strategy": "dmt", "dataset_domains": ["math"]},
    ],
)
def test_the_schema_rejects_what_a_check_would_reject(block: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"datasets": [], "dmt": block}, schema())
