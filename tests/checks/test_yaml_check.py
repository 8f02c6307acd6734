"""`axolotl dmt check`: every mistake at once, each with its line, offline and without a model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from axolotl.utils.schemas.config import AxolotlInputConfig
from click.testing import CliRunner
from pydantic import AliasChoices, AliasPath, BaseModel, Field

from axolotl_dmt.checks.yaml_check import check_file
from axolotl_dmt.checks.yaml_keys import names_of_fields
from axolotl_dmt.cli.main import dmt
from tests.e2e.runs import environment
from tests.mistakes import assert_mistake, assert_mistakes

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted(ROOT.glob("yaml_templates/**/*.yaml"))

GOOD = """\
base_model: org/model
plugins:
  - axolotl_dmt.DMTPlugin
datasets:
  - {path: org/math, type: alpaca, domain: math}
  - {path: org/chat, type: alpaca, domain: general}
dmt:
  strategy: dmt
  k: 1/16
learning_rate: 2e-5
micro_batch_size: 2
gradient_accumulation_steps: 1
num_epochs: 1
output_dir: outputs/check
"""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mistakes(text: str, **settings: bool) -> list[str]:
    Path("dmt.yaml").write_text(text)
    return list(check_file("dmt.yaml", **settings).mistakes)


def remarks(text: str) -> list[str]:
    """Return the remarks on a YAML without mistakes, apart from those about rows."""
    Path("dmt.yaml").write_text(text)
    found = check_file("dmt.yaml")
    assert not found.mistakes
    return [line for line in found.remarks if "datasets[" not in line and "dmt.k" not in line]


def test_a_good_yaml_has_no_mistakes_and_leaves_no_folder_behind() -> None:
    assert mistakes(GOOD) == []
    assert not Path("outputs").exists()


def test_every_mistake_is_reported_at_once_each_with_its_line() -> None:
    lines = mistakes(
        """\
base_model: /no/such/model
plugins:
  - axolotl_dmt.DMTPlugin
datasets:
  - {path: missing.jsonl, type: alpaca, domain: math}
  - path: org/chat
    type: alpaca
    domain: general
learning_rate: 2e-5
micro_batch_sise: 4
micro_batch_size: x
gradient_accumulation_steps: []
sequence_len: 100
sequence_len: 200
deepspeed: zero9.json
rl: dpo
dmt:
  k: 3
  stages:
    - name: a
      mix: {math: 1/0, mth: 1}
    - name: b
      mix:
        general: all
        code: 1/4
      order: sideways
  hooks: [nope.py]
  val_rows: {chat: 5}
  evaluate:
    tasks: [dmt_math, no_such_task]
    data: {maths: x, math: missing_test.jsonl}
    when: {every_steps: 0}
    model: vllm
    prompt: "Q:"
"""
    )
    keys = [":".join(line.split(":")[1:3]) for line in lines]
    assert keys == [
        "1: base_model",
        "5: datasets[0].path",
        "10: micro_batch_sise",
        "11: micro_batch_size",
        "12: gradient_accumulation_steps",
        "14: sequence_len",
        "15: deepspeed",
        "16: rl",
        "18: dmt.k",
        "21: dmt.stages[0].mix.math",
        "21: dmt.stages[0].mix.mth",
        "25: dmt.stages[1].mix.code",
        "26: dmt.stages[1].order",
        "27: dmt.hooks[0]",
        "28: dmt.val_rows.chat",
        "30: dmt.evaluate.tasks[1]",
        "31: dmt.evaluate.data.maths",
        "31: dmt.evaluate.data.math",
        "32: dmt.evaluate.when",
        "33: dmt.evaluate.model",
        "34: dmt.evaluate.prompt",
    ]
    assert "did you mean micro_batch_size?" in lines[2]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("a: 1\nb: [1\nc: 2\n", "dmt.yaml:3", "expected ',' or ']'"),
        ("a:\n\tb: 1\n", "dmt.yaml:2", "found character '\\t'"),
        ("", "dmt.yaml", ""),
        ("- a\n", "dmt.yaml", ""),
        ("base_model: org/m\n", "dmt.yaml: dmt", ""),
        (
            GOOD.replace("  - axolotl_dmt.DMTPlugin\n", "  []\n"),
            "dmt.yaml:2: plugins",
            "axolotl_dmt.DMTPlugin",
        ),
        (GOOD + "dataset_prepared: x\n", "dmt.yaml:15: dataset_prepared", "did you mean"),
        (
            GOOD.replace("DMTPlugin\n", "DMTPlugin\n  - axolotl.no_such.Plugin\n"),
            "dmt.yaml:4: plugins[1]",
            "axolotl.no_such.Plugin",
        ),
    ],
)
def test_what_is_wrong_with_the_file_as_a_whole(text: str, key: str, value: str) -> None:
    lines = mistakes(text)
    (line,) = [line for line in lines if line.startswith(f"{key}: ")] or lines
    assert_mistake(line, key, value)
    assert not any("\n" in line for line in lines)


TYPE_KEY = "5: datasets[0].type.field_instrction"
TYPE = "type: {field_instrction: question}, domain: math"


@pytest.mark.parametrize(
    ("old", "new", "key", "value"),
    [
        ("strategy: dmt", "strategy: DMT", "8: dmt.strategy", "did you mean dmt?"),
        ("  k: 1/16", "  K: 1/16", "9: dmt.K", "did you mean k?"),
        ("dmt:\n", "DMT:\n", "7: DMT", "did you mean dmt?"),
        ("domain: general", "domain: General", "7: dmt.general", "did you mean General?"),
        ("domain: math", "domain: [math]", "5: datasets[0].domain", "write one name"),
        (
            "type: alpaca, domain: math",
            TYPE,
            TYPE_KEY,
            "field_instruction",
        ),
        ("num_epochs: 1", "num_epochs:", "13: num_epochs", "write a number"),
        ("outputs/check", "~/check", "14: output_dir", "'~'"),
        ("outputs/check", "$SCRATCH/check", "14: output_dir", "'$SCRATCH'"),
        ("outputs/check", "${SCRATCH}/check", "14: output_dir", "'${SCRATCH}'"),
    ],
)
def test_what_a_hurried_user_types(old: str, new: str, key: str, value: str) -> None:
    lines = mistakes(GOOD.replace(old, new, 1))
    (line,) = [line for line in lines if line.startswith(f"dmt.yaml:{key}: ")] or lines
    assert_mistake(line, f"dmt.yaml:{key}", value)


@pytest.mark.parametrize(
    ("text", "line", "value"),
    [
        (f"{GOOD}---\na: 1\n".encode(), "dmt.yaml:15", "a single document"),
        (f"# für\n{GOOD}".encode("latin-1"), "dmt.yaml", "save it as UTF-8"),
    ],
)
def test_a_file_of_two_documents_or_in_another_encoding(text: bytes, line: str, value: str) -> None:
    Path("dmt.yaml").write_bytes(text)
    assert_mistake(check_file("dmt.yaml").mistakes[0], line, value)


@pytest.mark.parametrize("amount", ["k: 1/0", "replay: {share: lots}"])
def test_no_replay_is_counted_where_its_amount_is_a_mistake(amount: str) -> None:
    Path("math.jsonl").write_text('{"instruction": "1+1?", "output": "2"}\n' * 300)
    text = GOOD.replace("org/math", "math.jsonl")
    Path("dmt.yaml").write_text(text.replace("k: 1/16", amount))
    assert not any("replays" in remark for remark in check_file("dmt.yaml").remarks)
    Path("dmt.yaml").write_text(text)
    assert any("replays" in remark for remark in check_file("dmt.yaml").remarks)


@pytest.mark.parametrize(
    ("block", "key"), [("k: auto", "dmt.k"), ("keep: {math: {loss: 0.02}}", "dmt.keep")]
)
def test_a_mix_that_is_yet_to_be_found_is_said(block: str, key: str) -> None:
    Path("math.jsonl").write_text('{"instruction": "1+1?", "output": "2"}\n' * 300)
    text = GOOD.replace("org/math", "math.jsonl").replace("k: 1/16", block)
    Path("dmt.yaml").write_text(text + "val_set_size: 0.1\n")
    findings = check_file("dmt.yaml")
    assert not findings.mistakes
    (line,) = [remark for remark in findings.remarks if "datasets[" not in remark]
    number = text.splitlines().index(next(x for x in text.splitlines() if block in x)) + 1
    assert_mistake(line, f"dmt.yaml:{number}: {key}", "axolotl dmt solve")


def test_a_column_that_a_data_file_does_not_have_is_reported_with_its_line() -> None:
    Path("math.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    entry = """\
  - path: math.jsonl
    type:
      field_instruction: questoin
      field_output: answer
    domain: math
"""
    text = GOOD.replace("  - {path: org/math, type: alpaca, domain: math}\n", entry)
    key = "dmt.yaml:7: datasets[0].type.field_instruction"
    assert_mistakes(mistakes(text), (key, "'questoin'", "math.jsonl", "answer", "'question'?"))
    assert mistakes(text, files=False) == []


def test_keys_of_other_plugins_are_known() -> None:
    plugin = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
    text = GOOD.replace("DMTPlugin\n", f"DMTPlugin\n  - {plugin}\n") + "cut_cross_entropy: true\n"
    assert not any("unknown key" in line for line in mistakes(text))


def test_aliases_of_axolotls_keys_are_known() -> None:
    aliases = {"model_type", "model_config", "model_kwargs", "model_revision"}
    assert aliases < set(names_of_fields(AxolotlInputConfig))
    text = GOOD + "model_type: LlamaForCausalLM\nmodel_revision: main\n"
    assert remarks(text) == []


def test_every_kind_of_alias_is_a_key() -> None:
    class Arguments(BaseModel):
        plain: int = 0
        renamed: int = Field(0, alias="other")
        several: int = Field(0, validation_alias=AliasChoices("first", AliasPath("second", 0)))

    names = {"plain", "renamed", "other", "several", "first", "second"}
    assert set(names_of_fields(Arguments)) == names


def test_a_key_of_another_version_of_axolotl_is_no_mistake() -> None:
    (line,) = remarks(GOOD + "gptq_groupsize: 128\n")
    assert_mistake(line, "dmt.yaml:15: gptq_groupsize", "")
    done = CliRunner().invoke(dmt, ["check", "dmt.yaml"])
    assert done.exit_code == 0
    assert line in done.output.splitlines()


def test_a_key_that_keeps_no_order_alone_is_a_remark() -> None:
    (line,) = remarks(GOOD + "shuffle_merged_datasets: false\n")
    assert_mistake(line, "dmt.yaml:15: shuffle_merged_datasets", "curriculum_sampling")
    assert remarks(GOOD + "shuffle_merged_datasets: false\ncurriculum_sampling: true\n") == []


def test_a_shuffle_before_merging_is_a_remark() -> None:
    (line,) = remarks(GOOD + "shuffle_before_merging_datasets: true\n")
    assert_mistake(line, "dmt.yaml:15: shuffle_before_merging_datasets", "dmt.order")


def test_anchors_and_merges_are_no_duplicate_keys() -> None:
    text = GOOD.replace(
        "  - {path: org/math, type: alpaca, domain: math}\n"
        "  - {path: org/chat, type: alpaca, domain: general}\n",
        "  - &first {path: org/math, type: alpaca, domain: math}\n"
        "  - {<<: *first, domain: general}\n",
    )
    assert mistakes(text) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_every_template_passes(template: Path) -> None:
    if "studies" in template.parts:
        pytest.skip("a study is no Axolotl YAML")
    assert check_file(template, files=False).mistakes == ()


def test_the_quickstart_passes_with_its_data(toy: Path, tmp_path: Path) -> None:
    text = (ROOT / "yaml_templates/quickstart.yaml").read_text()
    text = text.replace("outputs/quickstart-data", str(toy))
    assert mistakes(text) == []


def test_the_command_ends_with_1_where_there_is_a_mistake() -> None:
    Path("dmt.yaml").write_text(GOOD)
    done = CliRunner().invoke(dmt, ["check", "dmt.yaml"])
    assert done.exit_code == 0
    assert done.output.startswith("dmt.yaml: ")
    Path("dmt.yaml").write_text(GOOD.replace("1/16", "16"))
    done = CliRunner().invoke(dmt, ["check", "dmt.yaml"])
    assert done.exit_code == 1
    assert_mistake(done.output.splitlines()[0], "dmt.yaml:9: dmt.k", 16)


def test_nothing_slow_is_imported() -> None:
    """A check imports no module that takes seconds to import, so it ends within two."""
    Path("dmt.yaml").write_text(GOOD + "dataset_num_proc: 1\n")
    code = (
        "import sys; from axolotl_dmt.checks.yaml_check import check_file\n"
        "assert not check_file('dmt.yaml').mistakes\n"
        "slow = ['torch', 'transformers', 'accelerate', 'datasets', 'peft', 'pandas']\n"
        "print([name for name in [*slow, 'lm_eval.tasks'] if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("line", ["report_to: none", "per_device_train_batch_size: 4"])
def test_an_argument_of_the_trainer_is_ignored_and_not_taken_for_another_key(line: str) -> None:
    assert_mistakes(remarks(f"{GOOD}{line}\n"), (f"dmt.yaml:15: {line.partition(':')[0]}",))


def test_the_stages_are_resolved_and_adjusted_once() -> None:
    Path("hooks.py").write_text(
        "from pathlib import Path\n"
        "from axolotl_dmt import hookimpl\n\n\n"
        "@hookimpl\n"
        "def adjust_stages(stages):\n"
        "    with Path('calls').open('a') as calls:\n"
        "        calls.write('called ')\n"
    )
    assert mistakes(GOOD.replace("dmt:\n", "dmt:\n  hooks: [hooks.py]\n")) == []
    assert Path("calls").read_text().split() == ["called"]


def test_a_file_that_would_hang_or_fill_memory_is_one_mistake() -> None:
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]" for i in range(9)]
    (line,) = mistakes("\n".join(lines))
    assert_mistake(line, "dmt.yaml:6", "values")
    os.mkfifo("pipe.yaml")
    for path in ("pipe.yaml", "/dev/zero"):
        (line,) = check_file(path).mistakes
        assert_mistake(line, path, "not a regular file")
