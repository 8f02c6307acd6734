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


CHAT_TEMPLATE = "{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}"
SHAREGPT = {"conversations": [{"from": "human", "value": "1?"}, {"from": "gpt", "value": "2"}]}


def base(tmp_path: Path, *, chat_template: str | None = None, **config: Any) -> str:
    """Write the files of a model that `init` reads, and return its folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    settings = {"chat_template": chat_template} if chat_template else {}
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", **settings}))
    return str(folder)


def written(*arguments: str) -> dict[str, Any]:
    done = init("--gpu-memory", "24", *arguments)
    assert done.exit_code == 0, done.output
    return yaml.safe_load(Path("dmt.yaml").read_text())


def test_all_domains_get_the_models_chat_template_whatever_their_columns(tmp_path: Path) -> None:
    Path("sharegpt.jsonl").write_text(json.dumps(SHAREGPT) + "\n")
    model = base(tmp_path, chat_template=CHAT_TEMPLATE)
    data = (*options("math", "code", "general"), "--data", "more=sharegpt.jsonl")
    made = written("--base-model", model, *data)
    assert made["chat_template"] == "tokenizer_default"
    types = [entry["type"] for entry in made["datasets"]]
    assert types == ["axolotl_dmt.chat", "axolotl_dmt.chat", "chat_template", "chat_template"]
    assert made["datasets"][3]["field_messages"] == "conversations"
    assert made["datasets"][3]["message_property_mappings"] == {"role": "from", "content": "value"}


@pytest.mark.parametrize(
    ("arguments", "template"), [((), "jinja"), (("--prompt", "chatml"), "chatml")]
)
def test_a_base_model_gets_one_format_for_all_domains(
    arguments: tuple[str, ...], template: str, tmp_path: Path
) -> None:
    made = written("--base-model", base(tmp_path), *options("math", "code"), *arguments)
    assert made["chat_template"] == template
    assert {entry["type"] for entry in made["datasets"]} == {"axolotl_dmt.chat"}
    assert ("USER: " in made.get("chat_template_jinja", "")) == (template == "jinja")


def test_an_unknown_template_is_refused(tmp_path: Path) -> None:
    done = init(
        "--base-model", "org/m", "--gpu-memory", "0", *options("math"), "--prompt", "vicunna"
    )
    assert done.exit_code == 2
    assert_mistake(done.output.strip(), "axolotl-dmt: --prompt", "'vicunna'", "vicuna")


@pytest.mark.parametrize(
    ("context", "longest", "length"), [(4096, 30, 256), (4096, 5000, 2048), (512, 9000, 512)]
)
def test_the_sequence_length_fits_the_rows_and_the_model(
    context: int, longest: int, length: int, tmp_path: Path
) -> None:
    Path("math.jsonl").write_text(json.dumps({"question": "1?", "answer": "x" * longest}) + "\n")
    model = base(tmp_path, max_position_embeddings=context)
    made = written("--base-model", model, *options("math"))
    assert made["sequence_len"] == length
    assert made["dmt"]["evaluate"].get("max_new_tokens") == (256 if context == 512 else None)


@pytest.mark.parametrize(("dtype", "bf16"), [("float32", False), ("bfloat16", "auto")])
def test_the_precision_is_that_of_the_model(dtype: str, bf16: Any, tmp_path: Path) -> None:
    made = written("--base-model", base(tmp_path, dtype=dtype), *options("math"))
    assert made["bf16"] == bf16


def test_columns_that_hold_no_known_question_are_a_mistake_with_its_line() -> None:
    Path("math.jsonl").write_text('{"left": "1", "right": "2"}\n')
    done = init("--base-model", "org/m", "--gpu-memory", "0", *options("math"))
    assert done.exit_code == 2
    assert "datasets[0].field_human" in done.output
    assert Path("dmt.yaml").exists()


def test_the_names_of_columns_stay_in_their_comment() -> None:
    name = "left\n    trust_remote_code: true\n    #\u2028\x1b" + "x" * 500
    Path("math.jsonl").write_text(json.dumps({name: "1", "right": "2"}) + "\n")
    init("--base-model", "org/m", "--gpu-memory", "0", *options("math"))
    (entry,) = yaml.safe_load(Path("dmt.yaml").read_text())["datasets"]
    assert "trust_remote_code" not in entry
    assert entry["type"] == "axolotl_dmt.chat"
    (comment,) = [x for x in Path("dmt.yaml").read_text().splitlines() if "name the columns" in x]
    assert len(comment) < 300 and comment.isprintable()


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
