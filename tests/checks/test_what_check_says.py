"""What a user types by mistake: each is one line that names the key, or a remark that it is unused.

Every input was accepted once, or was refused in words that did not help.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml
from axolotl.cli.config import load_cfg

from axolotl_dmt.checks.yaml_check import check_file
from axolotl_dmt.config.advice import shown
from axolotl_dmt.errors import DMTError, DMTErrors
from axolotl_dmt.plan import plan_size
from axolotl_dmt.training.run import Run
from tests.checks.test_yaml_check import GOOD
from tests.mistakes import assert_mistake, assert_mistakes

SCHEDULE = "  strategy: dmt\n  k: 1/16\n"
ROW = '{"instruction": "1+1?", "input": "", "output": "2"}\n'


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def block(*lines: str) -> str:
    return changed(SCHEDULE, SCHEDULE + "".join(f"  {line}\n" for line in lines))


def evaluate(*lines: str) -> str:
    return block("evaluate:", *(f"  {line}" for line in lines))


def stage(*lines: str) -> str:
    """Return a YAML with one stage whose first line, after the dash, is on line 9."""
    first, *others = lines
    return changed(
        SCHEDULE, f"  stages:\n    - {first}\n" + "".join(f"      {x}\n" for x in others)
    )


def beside_stages(*lines: str) -> str:
    text = stage("name: a", "mix: {math: all, general: all}")
    return text.replace("learning_rate:", "".join(f"  {x}\n" for x in lines) + "learning_rate:", 1)


def mistakes(text: str) -> list[str]:
    Path("dmt.yaml").write_text(text)
    return list(check_file("dmt.yaml").mistakes)


def remarks(text: str) -> list[str]:
    Path("dmt.yaml").write_text(text)
    findings = check_file("dmt.yaml")
    assert not findings.mistakes
    return list(findings.remarks)


MISTAKES = {
    "rate": (changed("2e-5", "-1"), "10: learning_rate", "-1", "learning_rate: 2e-5"),
    "rate of a stage": (
        block("overrides: {generalise: {learning_rate: .inf}}"),
        "10: dmt.overrides.generalise.learning_rate",
        "inf",
    ),
    "limit": (evaluate("limit: on"), "11: dmt.evaluate.limit", "on", "quotes"),
    "no limit": (evaluate("limit: .inf"), "11: dmt.evaluate.limit", "inf"),
    "batch": (evaluate("batch_size: 0"), "11: dmt.evaluate.batch_size", "0"),
    "accumulation": (changed("steps: 1", "steps: 0"), "12: gradient_accumulation_steps", "0"),
    "shares": (
        stage("name: a", "mix: {math: {share: 0.7}, general: {share: 0.6}}"),
        "10: dmt.stages[0].mix",
        "1.3",
    ),
    "token shares": (
        stage("name: a", "mix: {math: {token_share: 0.7}, general: {token_share: 0.6}}"),
        "10: dmt.stages[0].mix",
        "1.3",
    ),
    "joint shares": (
        stage("name: a", "mix: {math: {joint_share: 0.7}, general: {joint_share: 0.6}}"),
        "10: dmt.stages[0].mix",
        "0.6, 0.7",
    ),
    "five times": (
        stage("name: a", "mix: {math: 5, general: all}"),
        "10: dmt.stages[0].mix.math",
        "{rows: 5}",
        "max_repeats: 5",
    ),
    "long name": (
        stage(f"name: {'n' * 260}", "mix: {math: all, general: all}"),
        "9: dmt.stages[0].name",
        "64",
    ),
    "epochs": (changed("num_epochs: 1", "num_epochs: 1e9"), "13: num_epochs", "1e+09"),
    "endless": (changed("num_epochs: 1", "num_epochs: .inf"), "13: num_epochs", "inf"),
    "epochs of a stage": (
        block("overrides: {generalise: {epochs: 1e9}}"),
        "10: dmt.overrides.generalise.epochs",
        "1e+09",
    ),
    "temperature": (
        stage("name: a", "weights: {math: 1, general: 2}", "temperature: 1e-300"),
        "11: dmt.stages[0].temperature",
        "1e-300",
    ),
    "length": (GOOD + "sequence_len: -5\n", "15: sequence_len", "-5"),
    "no path": (changed("path: org/math", "path: null"), "5: datasets[0].path", "missing"),
    "empty path": (changed("path: org/math", "path: ''"), "5: datasets[0].path", "missing"),
    "overrides": (block("overrides: [generalise]"), "10: dmt.overrides", "['generalise']"),
    "twice": (GOOD + "learning_rate: 1e-4\n", "15: learning_rate", "line 10"),
    "twice in a block": (block("k: 1/8"), "10: dmt.k", "line 9"),
    "whole number": (
        changed("size: 2", "size: two"),
        "11: micro_batch_size",
        "'two'",
        "whole number",
        "micro_batch_size: 1",
    ),
    "scheduler": (GOOD + "lr_scheduler: off\n", "15: lr_scheduler", "off", "quotes"),
    "seed": (GOOD + "seed: no\n", "15: seed", "no", "quotes"),
    "steps": (GOOD + "max_steps: yes\n", "15: max_steps", "yes", "quotes"),
    "optimizer": (GOOD + "optimizer: no\n", "15: optimizer", "no", "put it in quotes"),
    "bf16": (GOOD + "bf16: maybe\n", "15: bf16", "'maybe'", "auto", "true or false"),
    "adapter": (GOOD + "adapter: loraa\n", "15: adapter", "loraa"),
    "a key that is no text": (GOOD + "yes: x\n", "15: true", "put it in quotes: 'yes'"),
    "a number as key": (GOOD + "5: x\n", "15: 5", "put it in quotes: '5'"),
    "key of an entry": (
        changed("domain: math", "domain: math, splitt: train"),
        "5: datasets[0].splitt",
        "did you mean split?",
    ),
    "domain misspelt": (changed("domain: math", "domian: math"), "5: datasets[0].domain", "domian"),
    # what YAML reads as something else
    "Norwegian": (
        changed("domain: math", "domain: no"),
        "5: datasets[0].domain",
        "YAML reads",
        "domain: 'no'",
    ),
    "Norwegian mix": (
        stage("name: a", "mix: {no: all, math: all, general: all}"),
        "10: dmt.stages[0].mix.false",
        "put it in quotes: 'no'",
    ),
    "year": (changed("domain: math", "domain: 2024"), "5: datasets[0].domain", "domain: '2024'"),
    "order": (block("order: off"), "10: dmt.order", "off", "quotes", "order: round_robin"),
    "name": (
        stage("name: on", "mix: {math: all, general: all}"),
        "9: dmt.stages[0].name",
        "put it in quotes",
    ),
    "amount": (
        stage("name: a", "mix: {math: yes, general: all}"),
        "10: dmt.stages[0].mix.math",
        "write all",
    ),
    "comma": (changed("1/16", "0,25"), "9: dmt.k", "'0,25'", "0.25"),
    "no block": (changed("dmt:\n" + SCHEDULE, "dmt:\n"), "7: dmt", "strategy: dmt"),
    "no mapping": (changed("dmt:\n" + SCHEDULE, "dmt: true\n"), "7: dmt", "strategy: dmt"),
    "no list": (changed(SCHEDULE, "  stages: {name: a}\n"), "8: dmt.stages", "list of stages"),
    # held-out rows as a fraction
    "percent": (block("val_rows: 5%"), "10: dmt.val_rows", "5%", "number of rows"),
    "true": (block("val_rows: true"), "10: dmt.val_rows", "true", "val_rows: 200"),
    "maths": (block("val_rows: {maths: 5}"), "10: dmt.val_rows.maths", "did you mean math?"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line(case: str) -> None:
    text, key, *values = MISTAKES[case]
    lines = mistakes(text)
    assert_mistakes(lines, (f"dmt.yaml:{key}", *values))
    assert not re.search(r"input should|valid (integer|string|boolean)|None|True|False", lines[0])
    assert not re.search(r"\S{120}", lines[0])


@pytest.mark.parametrize("case", MISTAKES)
def test_train_refuses_what_check_refuses(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    text, key, *_ = MISTAKES[case]
    Path("dmt.yaml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        load_cfg("dmt.yaml")
    assert ended.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "axolotl-dmt: " in line]
    assert_mistake(lines[0].split("axolotl-dmt: ")[1], key.split(": ")[1])


UNUSED = {
    "k beside stages": (beside_stages("k: 1/4"), "11: dmt.k"),
    "general beside stages": (beside_stages("general: math"), "11: dmt.general"),
    "k of another strategy": (changed("strategy: dmt", "strategy: multi_task"), "9: dmt.k"),
    "k of zero": (changed("1/16", "0"), "9: dmt.k", "strategy: mixed_sequential"),
    "an amount of zero": (
        stage("name: a", "mix: {math: 0, general: all}"),
        "10: dmt.stages[0].mix.math",
        "no row",
    ),
    "sequence": (block("sequence: [math, general]"), "10: dmt.sequence"),
    "domain": (block("domain: math"), "10: dmt.domain"),
    "improve": (block("improve: general"), "10: dmt.improve", "keep"),
    "solve": (block("solve: {budget: 0.3}"), "10: dmt.solve", "keep"),
    "judge": (evaluate("tasks: [dmt_math]", "judge: {model: m}"), "12: dmt.evaluate.judge"),
    "model_args": (evaluate("model_args: {dtype: float16}"), "11: dmt.evaluate.model_args"),
    "devices": (evaluate("devices: [7]"), "11: dmt.evaluate.devices"),
    "cache_share": (
        evaluate("batching: static", "cache_share: 0.2"),
        "12: dmt.evaluate.cache_share",
    ),
    "stop_early": (
        evaluate("runner: subprocess", "model: vllm", "stop_early: true"),
        "13: dmt.evaluate.stop_early",
    ),
    "domain of test_datasets": (
        GOOD + "test_datasets:\n  - {path: org/t, type: alpaca, split: test, domain: math}\n",
        "16: test_datasets[0].domain",
    ),
    "a domain left out": (
        changed(SCHEDULE, "  strategy: sequential\n  sequence: [math]\n"),
        "9: dmt.sequence",
        "general",
    ),
    "nothing scored": (block("evaluate:"), "10: dmt.evaluate", "tasks: [dmt_suite]"),
    "unknown": ("x-alpaca: &a {type: alpaca}\n" + GOOD, "1: x-alpaca"),
}


@pytest.mark.parametrize("case", UNUSED)
def test_a_key_without_effect_is_a_remark(case: str) -> None:
    text, key, *values = UNUSED[case]
    assert_mistakes(remarks(text), (f"dmt.yaml:{key}", *values))


@pytest.mark.parametrize(
    "text",
    [
        evaluate("tasks: [dmt_general_mtbench]", "judge: {model: m}"),
        evaluate("runner: subprocess", "model_args: {dtype: float16}"),
        evaluate("runner: background", "devices: [7]"),
        evaluate("cache_share: 0.2", "stop_early: true"),
        changed("domain: math", "domain: 'no'"),
        changed("domain: math", "domain: 1e3"),
        changed("1/16", '"1/256"'),
        stage("name: a", "mix: {math: {rows: 1e3}, general: {rows: 200_000}}"),
        stage("name: a", "mix: {math: {tokens: 2e5}, general: all}"),
        stage("name: a", "mix: {math: 5, general: all}", "max_repeats: 5"),
        changed("num_epochs: 1", "num_epochs: 1e9") + "max_steps: 10\n",
        GOOD + "val_set_size: 0.05\n",
        block('val_rows: "20"'),
    ],
)
def test_what_is_meant_is_accepted(text: str) -> None:
    assert remarks(text) == []


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b"\n  \n", "holds no rows"),
        ("a.json", b"[]", "holds no rows"),
        ("a.json", b'"text"', "'text'"),
        ("a.jsonl", bytes(range(256)), "is not text"),
        ("a.jsonl", ROW.encode() + b"\xff\xfe\n", "line 2"),
        ("a.jsonl", ROW.encode() * 400 + b'{"instruction": "x\n', "line 401"),
        ("a.csv", b"instruction,input,output\n", "holds no rows"),
        ("a.parquet", b"PAR1", "is not a Parquet file"),
    ],
)
def test_a_data_file_without_rows_is_a_mistake(name: str, content: bytes, problem: str) -> None:
    Path(name).write_bytes(content)
    lines = mistakes(changed("path: org/math", f"path: {name}"))
    assert_mistakes(lines, ("dmt.yaml:5: datasets[0].path", name, problem))


def test_a_device_and_a_pipe_are_no_data_files() -> None:
    os.mkfifo("pipe.jsonl")
    for path in ("/dev/null", "/dev/zero", "pipe.jsonl"):
        lines = mistakes(changed("path: org/math", f"path: {path}"))
        assert_mistakes(lines, ("dmt.yaml:5: datasets[0].path", path, "not a regular file"))


@pytest.mark.parametrize("content", ["[" + ROW + "]", ROW * 3, f"[{ROW}, {ROW}]", '["a", "b"]'])
def test_json_in_any_form_holds_rows(content: str) -> None:
    Path("a.json").write_text(content)
    assert mistakes(changed("path: org/math, type: alpaca", "path: a.json, type: completion")) in (
        [],
        mistakes(changed("path: org/math, type: alpaca", "path: org/math, type: completion")),
    ) or all("field" in line for line in mistakes(Path("dmt.yaml").read_text()))


@pytest.mark.parametrize(
    ("text", "key", "rows"),
    [
        (changed("num_epochs: 1", "num_epochs: 9e4"), "13: num_epochs", "3.6e+06"),
        (
            stage("name: a", "mix: {math: 1/2, general: {rows: 100}}", "epochs: 9e4"),
            "11: dmt.stages[0].epochs",
            "1.08e+07",
        ),
    ],
)
def test_a_plan_beyond_memory_is_refused_before_rows_are_tokenised(
    text: str, key: str, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("math.jsonl").write_text(ROW * 40)
    text = text.replace("org/math", "math.jsonl")
    assert mistakes(text) == []
    monkeypatch.setattr(plan_size, "MOST_OF_MEMORY", 1e-9)
    assert_mistakes(mistakes(text), (f"dmt.yaml:{key}", rows, "max_steps"))
    with pytest.raises(DMTError, match=re.escape(rows)):
        Run.from_raw(yaml.safe_load(text))


def test_a_folder_without_a_model_is_a_mistake() -> None:
    Path("model").mkdir()
    (line,) = mistakes(changed("org/model", "./model"))
    assert_mistake(line, "dmt.yaml:1: base_model", "config.json")
    Path("model/config.json").write_text("{}")
    assert mistakes(changed("org/model", "./model")) == []


def test_a_fraction_of_rows_is_explained_with_the_number() -> None:
    Path("math.jsonl").write_text("".join(ROW.replace("1+1", f"{i}+1") for i in range(40)))
    for value, key in (("0.05", "val_rows"), ("{math: 1/20}", "val_rows.math"), ("5%", "val_rows")):
        text = block(f"val_rows: {value}").replace("org/math", "math.jsonl")
        (line,) = mistakes(text)
        assert_mistake(line, f"dmt.yaml:10: dmt.{key}", "5% of math's 40 rows are 2")


@pytest.mark.parametrize(
    ("text", "keys", "rows"),
    [
        (block("val_rows: 40"), ["10: dmt.val_rows"], "40 rows are to be held out of math's 40"),
        (block("val_rows: {general: 9, math: 41}"), ["10: dmt.val_rows.math"], "math's 40"),
        (block("val_rows: 39"), [], ""),
        (block("val_rows: {general: 99}"), [], ""),  # not on this machine
        (block("val_rows: 40").replace("org/chat", "few.csv"), ["10: dmt.val_rows"] * 2, "'s "),
        (GOOD.replace("org/chat", "few.csv") + "val_set_size: 43\n", ["15: val_set_size"], "43"),
        (GOOD.replace("org/chat", "few.csv") + "val_set_size: 0.99\n", ["15: val_set_size"], "43"),
        (GOOD.replace("org/chat", "few.csv") + "val_set_size: 42\n", [], ""),
        (GOOD + "val_set_size: 43\n", [], ""),
    ],
)
def test_a_domain_keeps_a_row_to_train_on(text: str, keys: list[str], rows: str) -> None:
    Path("math.jsonl").write_text("".join(ROW.replace("1+1", f"{i}+1") for i in range(40)))
    Path("few.csv").write_text("instruction,input,output\n" + "a,b,c\n" * 3)
    text = text.replace("org/math", "math.jsonl")
    lines = mistakes(text)
    assert_mistakes(lines, *((f"dmt.yaml:{key}", rows) for key in keys))
    if keys and "val_rows: 40" in text:
        few = text.replace("val_rows: 40", lines[-1].partition("write ")[2])
        assert mistakes(few) == []


def test_rows_of_a_type_that_splits_them_are_not_counted() -> None:
    Path("math.jsonl").write_text('{"text": "a"}\n' * 3)
    text = block("val_rows: {math: 5}").replace("path: org/math", "path: math.jsonl")
    assert len(mistakes(text.replace("type: alpaca", "type: completion", 1))) == 0


def test_no_value_is_echoed_at_length() -> None:
    long = "v" * 300
    for text in (
        changed("micro_batch_size: 2", f"micro_batch_size: {long}"),
        changed("1/16", long),
        changed("domain: math", f"domain: {long}"),
        changed("strategy: dmt", f"strategy: {long}"),
        block(f"order: {long}"),
        block(f"{long}: 1"),
        block(f"val_rows: [{', '.join(['1'] * 200)}]"),
        GOOD + f"lora_r: {long}\n",
    ):
        lines = mistakes(text)
        assert lines
        assert not any("v" * 81 in line or "1, " * 40 in line for line in lines)


def test_a_value_is_shown_as_yaml_spells_it() -> None:
    assert [shown(value) for value in (True, None, "a", 2)] == [
        "true",
        "an empty value",
        "'a'",
        "2",
    ]
    assert len(shown(["x"] * 100)) <= 80


FOLLOWED = [
    changed("micro_batch_size: 2", "micro_batch_size: two"),
    changed("2e-5", "fast"),
    changed("num_epochs: 1", "num_epochs: many"),
    changed("domain: math", "domain: no").replace("  k: 1/16\n", ""),
    changed("1/16", "no"),
    block("seed: two"),
    block("order: off"),
    block("val_rows: true"),
    block("max_repeats: two"),
    block("reset_optimizer: maybe"),
    block("on_plan_change: ask"),
    block("hooks:"),
    evaluate("limit: on"),
    evaluate("batch_size: 0"),
    evaluate("runner: process"),
    evaluate("judge: gpt-4o"),
    evaluate("tasks: dmt_math"),
    stage("name: on", "mix: {math: all, general: all}"),
    GOOD + "warmup_steps: some\n",
    GOOD + "warmup_ratio: 7\n",
    GOOD + "weight_decay: -1\n",
    GOOD + "sequence_len: 0\n",
    GOOD + "max_steps: long\n",
    GOOD + "seed: no\n",
    GOOD + "lr_scheduler: off\n",
    GOOD + "lora_r: many\n",
    GOOD + "bf16: maybe\n",
    changed("dmt:\n" + SCHEDULE, "dmt:\n"),
]


@pytest.mark.parametrize("text", FOLLOWED)
def test_advice_that_is_followed_word_for_word_works(text: str) -> None:
    (line,) = mistakes(text)
    number = int(line.split(":")[1])
    fix = line.rpartition("; ")[2]
    written = re.search(r"(?:write|example) (\w+: (?:\{.*\}|\[.*\]|'.*'|[^\s,]+))", fix)
    assert written, line
    lines = text.splitlines()
    old, (key, _) = lines[number - 1], written[1].split(": ", 1)
    replaced = re.sub(rf"\b{key}:[^,}}]*", lambda _: written[1], old)
    assert replaced != old
    lines[number - 1] = replaced
    yaml.safe_load("\n".join(lines))
    followed = mistakes("\n".join(lines) + "\n")
    assert [other for other in followed if other.startswith(f"dmt.yaml:{number}:")] == [] or all(
        "my_hooks.py" in other for other in followed
    )


def test_train_reports_keys_as_check_does(capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        GOOD.replace("DMTPlugin\n", "DMTPlugin\n", 1) + "optimiser: sgd\nzzz_top: 1\nzzz_top: 2\n"
    )
    Path("dmt.yaml").write_text(text)
    raw = {**yaml.safe_load(text), "axolotl_config_path": "dmt.yaml", "an_option_of_cli": True}
    with pytest.raises(DMTErrors) as caught:
        Run.from_raw(raw)
    lines = [str(error) for error in caught.value.errors]
    assert_mistakes(lines, ("zzz_top", "line 16"), ("optimiser", "optimizer"))
    Path("dmt.yaml").write_text(GOOD + "zzz_top: 1\n")
    Run.from_raw({**yaml.safe_load(GOOD), "zzz_top": 1, "axolotl_config_path": "dmt.yaml"})
    assert "dmt.yaml:15: zzz_top: " in capsys.readouterr().err


def test_long_words_of_a_message_are_cut_but_not_paths() -> None:
    path = "/".join(["folder"] * 30)
    message = str(DMTError("key", f"{path} and {'w' * 100} and 'a b {'c ' * 60}'", "fix"))
    assert path in message
    assert "w" * 80 not in message
    assert "c " * 50 not in message
