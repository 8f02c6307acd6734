"""Any models are scored side by side: folders, adapters' names and models that a server offers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from axolotl_dmt.cli.evaluate import with_options
from axolotl_dmt.cli.evaluate_models import differences
from axolotl_dmt.cli.main import dmt
from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation.any_model import AnyModel, asked
from axolotl_dmt.evaluation.scores import Evaluation
from axolotl_dmt.results.items import Item, items_of
from tests.judge_server import judge_server
from tests.mistakes import assert_mistake, expect_error
from tests.tiny_model import make_model

ROWS = [{"question": f"What is {n}+1?", "answer": f"#### {n + 1}"} for n in range(6)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "math.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)))
    return file


def item(name: str, score: float, prompt: str, stop: str) -> Item:
    generation = json.dumps({"until": [stop], "max_gen_toks": 8})
    return Item(
        ability="math",
        task="dmt_math",
        item=f"{name}@1.0",
        doc=0,
        score=score,
        passed=score == 1,
        prompt_digest=prompt,
        generation=generation,
    )


def test_what_an_argument_names(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert AnyModel.of(str(tmp_path)) == AnyModel(name=tmp_path.name, path=str(tmp_path))
    assert AnyModel.of("org/model") == AnyModel(name="org/model", path="org/model")
    url = "http://localhost:8000/v1/chat/completions"
    served = AnyModel(name="my/model", url=url, served="my/model")
    assert AnyModel.of("http://localhost:8000/v1#my/model") == served
    assert AnyModel.of(f"{url}#my/model") == served
    with expect_error("MODEL", "http://localhost:8000/v1", "#NAME"):
        AnyModel.of("http://localhost:8000/v1")
    with expect_error("MODEL", "./none", "folder"):
        AnyModel.of("./none")
    (tmp_path / "empty").mkdir()
    with expect_error("MODEL", "empty", "folder"):
        AnyModel.of(str(tmp_path / "empty"))


def test_the_command_line_replaces_values_of_the_block() -> None:
    block = EvaluateConfig(tasks=["dmt_suite"], limit=8, data={"math": "a"}, batch_size=3)
    changed = with_options(block, tasks="dmt_math, dmt_code", limit=2, data=["code=b"])
    assert (changed.tasks, changed.limit, changed.batch_size) == (["dmt_math", "dmt_code"], 2, 3)
    assert changed.data == {"math": "a", "code": "b"}
    assert with_options(block, tasks=None, limit=None, data=()) == block
    with expect_error("--data", "math", "math="):
        with_options(block, tasks=None, limit=None, data=["math"])
    with expect_error("dmt.evaluate.data.maths", "dmt_suite", "math"):
        with_options(block, tasks=None, limit=None, data=["maths=a"])


def test_a_model_is_asked_as_it_was_trained_else_in_its_chat_template(tmp_path: Path) -> None:
    chat = AnyModel(name="chat", path=make_model(tmp_path / "chat"))
    base = AnyModel(name="base", path=make_model(tmp_path / "base", chat_template=None))
    block = EvaluateConfig()
    assert asked(chat, block).apply_chat_template
    assert asked(base, block).prompt == "plain"
    assert asked(chat, EvaluateConfig(prompt="vicuna")) == EvaluateConfig(prompt="vicuna")
    formats = {"domains": {"math": {"first": "{question}", "later": "{question}"}}}
    (tmp_path / "chat/dmt_prompts.json").write_text(json.dumps(formats))
    assert asked(chat, block) == block


def test_models_asked_in_their_own_prompts_are_compared_with_a_warning() -> None:
    first = tuple(item(f"i{n}", float(n % 2), f"p{n}", "a") for n in range(8))
    other = tuple(item(f"i{n}", 1.0, f"q{n}", "b") for n in range(8))
    (change,) = differences({"x": Evaluation(items=first), "y": Evaluation(items=other)})
    assert change.paired is not None
    assert (change.before, change.after, change.paired.won) == ("x", "y", 4)
    assert "prompts" in str(change.warning)


def evaluated(*arguments: str) -> Any:
    return CliRunner().invoke(dmt, ["evaluate", *arguments])


def test_two_models_are_scored_and_compared(tmp_path: Path, rows: Path) -> None:
    one, two = (make_model(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two")))
    (tmp_path / "dmt.yaml").write_text(
        "dmt: {strategy: dmt, evaluate: {tasks: [dmt_math], max_new_tokens: 4, batch_size: 4}}"
    )
    options = ["--config", str(tmp_path / "dmt.yaml"), "--data", f"math={rows}", "--limit", "4"]
    done = evaluated(one, two, *options, "--to", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    saved = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert {name: each["scores"]["math"]["n"] for name, each in saved["models"].items()} == {
        "one": 4,
        "two": 4,
    }
    assert len(items_of(tmp_path / "out/items.parquet")) == 8
    assert "Differences on the same items" in (tmp_path / "out/evaluation.md").read_text()
    assert "two" in done.output and "95% interval" in done.output


def test_a_model_that_cannot_be_loaded_does_not_end_the_others(tmp_path: Path, rows: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{}")
    good = make_model(tmp_path / "good")
    options = ["--tasks", "dmt_math", "--data", f"math={rows}", "--limit", "1"]
    done = evaluated(str(tmp_path / "broken"), good, *options, "--to", str(tmp_path / "out"))
    assert done.exit_code == 1
    saved = json.loads((tmp_path / "out/evaluation.json").read_text())["models"]
    assert saved["broken"]["error"] and saved["good"]["scores"]["math"]["n"] == 1


def test_a_served_model_is_scored(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tenacity")  # of lm-eval's extra `api`
    monkeypatch.setenv("OPENAI_API_KEY", "key")

    def reply(_: int, request: dict[str, Any]) -> tuple[int, str]:
        number = int(request["messages"][-1]["content"].split()[2].split("+")[0])
        return 200, f"#### {number + 1}" if number < 3 else "none"

    options = ["--tasks", "dmt_math", "--data", f"math={rows}", "--to", str(tmp_path / "out")]
    with judge_server(reply) as server:
        done = evaluated(f"{server.url}#some/model", *options)
    assert done.exit_code == 0, done.output
    saved = json.loads((tmp_path / "out/evaluation.json").read_text())["models"]["some/model"]
    assert saved["scores"]["math"]["value"] == 0.5
    assert {request["model"] for request in server.requests} == {"some/model"}
    assert {item.tokens for item in items_of(tmp_path / "out/items.parquet")} == {None}


def test_one_name_on_two_servers_is_two_models(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tenacity")  # of lm-eval's extra `api`
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    options = ["--tasks", "dmt_math", "--data", f"math={rows}", "--to", str(tmp_path / "out")]
    with (
        judge_server(lambda *_: (200, "#### 1")) as one,
        judge_server(lambda *_: (200, "none")) as two,
    ):
        done = evaluated(f"{one.url}#m", f"{two.url}#m", *options)
    assert done.exit_code == 0, done.output
    saved = json.loads((tmp_path / "out/evaluation.json").read_text())["models"]
    assert len(saved) == 2 and all(name.endswith("#m") for name in saved)
    values = [model["scores"]["math"]["value"] for model in saved.values()]
    assert values[0] > values[1] == 0
    assert {request["model"] for request in [*one.requests, *two.requests]} == {"m"}


def test_the_folder_of_the_results_is_checked_before_a_model_is_scored(
    tmp_path: Path, rows: Path
) -> None:
    model = make_model(tmp_path / "model")
    options = ["--tasks", "dmt_math", "--data", f"math={rows}", "--limit", "1"]
    (tmp_path / "file").touch()
    (tmp_path / "done").mkdir()
    (tmp_path / "done/evaluation.json").write_text("earlier")
    for to, problem in (("file", "File exists"), ("done", "already")):
        done = evaluated(model, *options, "--to", str(tmp_path / to))
        assert done.exit_code == 2
        message = done.output.strip().removeprefix("axolotl-dmt: ")
        assert_mistake(message, "--to", tmp_path / to, problem)
    assert (tmp_path / "done/evaluation.json").read_text() == "earlier"
