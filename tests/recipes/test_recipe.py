"""Exporting a run as a recipe, and reading recipes by unknown authors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from axolotl_dmt.cli.main import dmt
from axolotl_dmt.recipes.clean import clean
from axolotl_dmt.recipes.export import export
from axolotl_dmt.recipes.fetch import RecipeFiles
from axolotl_dmt.recipes.recipe import Card, read_recipe, save_files
from axolotl_dmt.results import Results, Score, StageResult
from axolotl_dmt.results.config_file import save_config
from axolotl_dmt.results.folder import load_results
from axolotl_dmt.results.secrets import masked
from tests.mistakes import assert_mistake, expect_error
from tests.results.test_secrets import SECRET_KEYS, TOKENS

RAW: dict[str, Any] = {
    "base_model": "/models/secret-project/base",
    "plugins": ["axolotl_dmt.DMTPlugin"],
    "datasets": [
        {"path": "/home/ada/acme/customers.jsonl", "type": "alpaca", "domain": "math"},
        {"path": "data/more.jsonl", "type": "alpaca", "domain": "math"},
        {"path": "org/chats", "type": "chat_template", "domain": "general"},
    ],
    "dmt": {
        "strategy": "dmt",
        "evaluate": {
            "tasks": ["dmt_suite"],
            "data": {"math": "/home/ada/test.jsonl"},
            "prompt": "/think {question}",
            "allow_unsafe_code": True,
            "judge": {"model": "m", "base_url": "http://10.0.0.7:8000/v1"},
        },
    },
    "output_dir": "/scratch/ada/run-7",
    "dataset_prepared_path": "/scratch/ada/prepared",
    "deepspeed": "/opt/configs/zero3.json",
    "default_system_message": f"You live in {Path.home()}/x",
    "learning_rate": 2e-5,
    "wandb_project": "acme",
    "use_wandb": True,
    "hub_model_id": "ada/secret",
    "hf_use_auth_token": True,
    "resume_from_checkpoint": "/scratch/ada/checkpoint-9",
    "comet_api_key": "abc",
    "debug": False,
    "shard": False,
    "adapter": None,
}
SOURCES = {
    "base_model": {"path": RAW["base_model"], "local": True, "revision": None},
    "datasets": [
        {"domain": "math", "path": "x", "local": True, "revision": None, "rows": 5000},
        {"domain": "math", "path": "x", "local": True, "revision": None, "rows": 7},
        {"domain": "general", "path": "org/chats", "local": False, "revision": "c" * 40, "rows": 9},
    ],
}


def score(value: float) -> Score:
    return Score(task="dmt_math", metric="dmt_score", value=value, stderr=0.01, n=100)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a run leaves it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run-7"
    draw = {"rows": 12, "draws": 12}
    stage = {"name": "specialise", "steps": 4, "epochs": 1, "learning_rate": 2e-5}
    plan = {"global_batch": 8, "stages": [{**stage, "domains": {"math": draw}}]}
    Results(
        plan_fingerprint="f" * 32,
        stages=(
            StageResult(name="specialise", end_step=4, scores={"math": score(0.5)}),
            StageResult(name="generalise", end_step=9, error="no file /home/ada/secret.jsonl"),
        ),
        plan=plan,
        versions={"axolotl-dmt": "0.1.0"},
        extra={"sources": SOURCES},
    ).save(folder / "dmt/results.json")
    (folder / "dmt/abilities.png").write_bytes(b"\x89PNG")
    save_config(RAW, folder)
    return folder


def test_the_error_of_an_evaluation_before_training_is_not_shared(run: Path) -> None:
    failed = StageResult(name="baseline", end_step=0, error="no model /home/ada/secret")
    replace(load_results(run), baseline=failed).save(run / "dmt/results.json")
    assert command("export", "run-7", "--to", "shared").exit_code == 0
    for path in Path("shared").glob("*.*"):
        assert b"secret" not in path.read_bytes()


def command(*arguments: str) -> Result:
    return CliRunner().invoke(dmt, ["recipe", *arguments])


def test_an_exported_recipe_is_valid_and_reveals_nothing_of_the_machine(run: Path) -> None:
    done = command("export", "run-7", "--to", "shared", "--author", "Ada: 'L'", "--licence", "mit")
    assert done.exit_code == 0, done.output
    assert {path.name for path in Path("shared").iterdir()} == {
        "dmt.yaml",
        "README.md",
        "recipe.json",
        "abilities.png",
    }
    for name in ("dmt.yaml", "README.md", "recipe.json"):
        text = Path("shared", name).read_text()
        for secret in (
            "/home",
            "/scratch",
            "/opt",
            "ada/",
            "acme",
            "secret",
            "abc",
            "10.0.0",
            "8000",
        ):
            assert secret not in text, (name, secret)
        assert str(Path.home()) not in text
    config = yaml.safe_load(Path("shared/dmt.yaml").read_text())
    assert [entry["path"] for entry in config["datasets"]] == [
        "your-data/math.jsonl",
        "your-data/math-2.jsonl",
        "org/chats",
    ]
    assert config["datasets"][2]["revision"] == "c" * 40
    assert config["base_model"] == "your-model"
    assert config["output_dir"] == "outputs/run-7"
    assert config["deepspeed"] == "your-files/zero3.json"
    assert config["dmt"]["evaluate"]["prompt"] == "/think {question}"
    for key in ("wandb_project", "hub_model_id", "resume_from_checkpoint", "comet_api_key"):
        assert f"left out: {key}" in done.output or key == "comet_api_key"
    (placeholder,) = [line for line in done.output.splitlines() if "your-data/math.jsonl" in line]
    assert "domain math" in placeholder and "5,000 rows" in placeholder
    assert "--trust: dmt.evaluate.judge" in done.output


def test_the_card_holds_the_facts_for_people_and_for_programs(run: Path) -> None:
    files, _ = export(run, author="Ada: 'L'", licence="mit")
    _, front, body = files["README.md"].decode().split("---\n", 2)
    head = yaml.safe_load(front)
    card = json.loads(files["recipe.json"])
    assert head["axolotl_dmt_recipe"] == card
    assert (head["license"], head["datasets"]) == ("mit", ["org/chats"])
    assert "base_model" not in head
    assert card["schema"] == 1
    assert (card["name"], card["author"], card["licence"]) == ("run-7", "Ada: 'L'", "mit")
    assert card["plan_fingerprint"] == "f" * 32
    assert [source["rows"] for source in card["data"]] == [5000, 7, 9]
    assert card["data"][2]["revision"] == "c" * 40
    assert card["scores"] == [
        {
            "stage": "specialise",
            "ability": "math",
            "task": "dmt_math",
            "metric": "dmt_score",
            "value": 0.5,
            "stderr": 0.01,
            "n": 100,
        }
    ]
    assert card["versions"] == {"axolotl-dmt": "0.1.0"}
    assert card["stages"][0]["rows"] == {"math": 12}
    assert "| math | dmt_math | 100 | 0.500 ± 0.010 |" in body
    assert "your-data" in body and "![Ability by stage](abilities.png)" in body
    assert Card.model_validate(card).to_json() == card


def test_a_hub_model_keeps_its_name_and_gets_the_commit_that_was_read() -> None:
    raw = {**RAW, "base_model": "org/base"}
    sources = {"base_model": {"path": "org/base", "local": False, "revision": "b" * 40}}
    config = clean(raw, sources, "x").config
    assert (config["base_model"], config["revision_of_model"]) == ("org/base", "b" * 40)


def test_no_file_is_overwritten(run: Path) -> None:
    Path("shared").mkdir()
    Path("shared/mine.txt").write_text("mine")
    done = command("export", "run-7", "--to", "shared")
    assert done.exit_code == 2
    assert_mistake(done.output.strip(), "axolotl-dmt: --to", "shared")
    assert [path.name for path in Path("shared").iterdir()] == ["mine.txt"]


def test_a_folder_without_a_run_and_an_odd_name_are_refused_in_one_line(run: Path) -> None:
    Path("empty").mkdir()
    output = command("export", "empty").output.strip()
    assert_mistake(output, "axolotl-dmt: OUTPUT_DIR", "empty")
    output = command("export", "run-7", "--author", "a\nlicense: x").output.strip()
    assert_mistake(output, "axolotl-dmt: --author", repr("a\nlicense: x"))
    (run / "dmt/config.yaml").unlink()
    output = command("export", "run-7").output.strip()
    assert_mistake(output, "axolotl-dmt: OUTPUT_DIR", "config.yaml")


def valid(**changes: Any) -> dict[str, bytes]:
    config = {
        "base_model": "org/base",
        "plugins": ["axolotl_dmt.DMTPlugin"],
        "datasets": [{"path": "org/x", "type": "alpaca", "domain": "math"}],
        "dmt": {"strategy": "single", "domain": "math"},
        "learning_rate": 1e-5,
        **changes,
    }
    return {"dmt.yaml": yaml.safe_dump(config).encode()}


def test_use_takes_over_a_harmless_recipe_and_refuses_another_without_trust(tmp_path: Path) -> None:
    save_files(valid(), tmp_path / "good")
    save_files(valid(trust_remote_code=True, wandb_project="x"), tmp_path / "bad")
    new = tmp_path / "new"
    assert command("use", str(tmp_path / "good"), "--to", str(new)).exit_code == 0
    assert (new / "dmt.yaml").read_bytes() == valid()["dmt.yaml"]
    other = tmp_path / "more"
    output = command("use", str(tmp_path / "good"), "--to", str(other)).output.splitlines()
    assert output[-1].startswith(f"wrote {other}")
    assert output[-1].endswith(f"cd {other} && axolotl dmt check dmt.yaml")
    refused = command("use", str(tmp_path / "bad"), "--to", str(tmp_path / "other"))
    assert refused.exit_code == 2
    assert [line.split(":")[1] for line in refused.output.splitlines()] == [
        " trust_remote_code",
        " wandb_project",
    ]
    assert not (tmp_path / "other").exists()
    trusted = command("use", str(tmp_path / "bad"), "--to", str(tmp_path / "other"), "--trust")
    assert trusted.exit_code == 0
    assert "trusted: trust_remote_code: True" in trusted.output


def test_trust_does_not_extend_to_invalid_files(tmp_path: Path) -> None:
    save_files({"dmt.yaml": b"a: &a [*a]"}, tmp_path / "bomb")
    done = command("use", str(tmp_path / "bomb"), "--to", str(tmp_path / "new"), "--trust")
    assert (done.exit_code, (tmp_path / "new").exists()) == (2, False)


def test_a_local_folder_named_like_a_built_in_recipe_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_files(valid(trust_remote_code=True), tmp_path / "quickstart")
    done = command("use", "quickstart", "--to", "new")
    assert (done.exit_code, Path("new").exists()) == (2, False)


def test_a_name_of_the_gallery_is_taken_by_every_command_and_a_misspelt_one_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "lora/8b_24gb"
    assert command("show", name).exit_code == 0
    checked = command("check", name)
    assert (checked.exit_code, checked.output.startswith("8b_24gb: ")) == (0, True)
    pushed = command("push", name, "me/mine")
    assert pushed.exit_code == 2
    assert_mistake(pushed.output.strip(), "axolotl-dmt: SOURCE", "8b_24gb", "README.md")
    for arguments in (("show",), ("check",), ("use",), ("push", "me/mine")):
        done = command(arguments[0], "lora/8b-24gb", *arguments[1:])
        assert done.exit_code == 2
        output = done.output.strip()
        assert_mistake(output, "axolotl-dmt: SOURCE", "lora/8b-24gb", "lora/8b_24gb?")
    output = command("check", "nothing like it").output.strip()
    assert_mistake(output, "axolotl-dmt: SOURCE", "nothing like it")


@pytest.mark.parametrize(
    "changes", [{"datasets": 3}, {"datasets": ["x"]}, {"datasets": None}, {3: "x"}, {"dmt": [1]}]
)
@pytest.mark.parametrize("name", ["show", "check", "use"])
def test_a_yaml_of_another_shape_ends_in_no_traceback(
    tmp_path: Path, name: str, changes: dict[Any, Any]
) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(valid()["dmt.yaml"]), **changes}))
    to = ("--to", str(tmp_path / "new")) if name == "use" else ()
    done = command(name, str(path), *to)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception


@pytest.mark.parametrize(
    ("files", "key", "value"),
    [
        ({}, "SOURCE", "no YAML"),
        ({"a.yaml": b"x: 1", "b.yaml": b"x: 1"}, "SOURCE", "2 YAML"),
        (valid(plugins=[]), "plugins", "axolotl_dmt.DMTPlugin"),
        (valid(plugins=None), "plugins", "axolotl_dmt.DMTPlugin"),
        (valid(dmt=None), "dmt", "empty"),
        (valid(dmt={"strategy": "dmt", "k": 9}), "dmt.k", "9"),
        ({**valid(), "recipe.json": b"{"}, "recipe.json", "JSON"),
        ({**valid(), "recipe.json": b"[" * 100_000}, "recipe.json", "JSON"),
        ({**valid(), "recipe.json": b"[]"}, "recipe.json", "JSON"),
        ({**valid(), "recipe.json": b'{"schema": 2}'}, "recipe.json", "2"),
        ({**valid(), "recipe.json": b'{"schema": 1, "name": 3}'}, "recipe.json", "'name'"),
    ],
)
def test_an_invalid_recipe_is_refused_in_one_line(
    files: dict[str, bytes], key: str, value: str
) -> None:
    with expect_error(key, value):
        read_recipe(RecipeFiles(name="x", files=files))


@pytest.mark.parametrize("spelled", ["ds.json", "./ds.json", "DS.json", ".//ds.json"])
def test_a_deepspeed_file_of_the_recipe_is_looked_into(spelled: str) -> None:
    files = {**valid(deepspeed=spelled), "ds.json": b'{"wandb": {"enabled": true}}'}
    (finding,) = read_recipe(RecipeFiles(name="x", files=files)).findings
    assert finding.key == "ds.json.wandb"


def test_show_does_not_interpret_the_text_of_a_recipe(run: Path, tmp_path: Path) -> None:
    files, _ = export(run, author="[bold]x[/bold]")
    card = json.loads(files["recipe.json"])
    card["author"], card["name"] = "[bold]x[/bold]", "\x1b]0;owned\x07\x1b[31mred"
    files["recipe.json"] = json.dumps(card).encode()
    config = yaml.safe_load(files["dmt.yaml"])
    files["dmt.yaml"] = yaml.safe_dump({**config, "wandb_name": "\x1b[2J"}).encode()
    save_files(files, tmp_path / "odd")
    shown = command("show", str(tmp_path / "odd"))
    assert shown.exit_code == 0
    assert "\x1b" not in shown.output and "\x07" not in shown.output
    assert "[bold]x[/bold]" in shown.output
    assert "specialise" in shown.output and "0.500 ± 0.010" in shown.output
    assert "--trust" in shown.output and "wandb_name" in shown.output


def test_a_yaml_alone_is_shown_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(valid()["dmt.yaml"])
    shown = command("show", str(path))
    assert (shown.exit_code, "org/base" in shown.output) == (0, True)
    assert command("check", str(path)).exit_code == 0
    path.write_bytes(valid(trust_remote_code=True)["dmt.yaml"])
    refused = command("check", str(path))
    assert refused.exit_code == 2
    assert_mistake(refused.output.strip(), "axolotl-dmt: trust_remote_code", True)


def test_a_recipe_is_used_right_after_it_was_exported(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    harmless = {key: RAW[key] for key in ("base_model", "plugins", "datasets", "output_dir")}
    save_config({**harmless, "dmt": {"strategy": "dmt"}}, run)
    assert command("export", str(run), "--name", "mine").exit_code == 0
    for folder in ("mine", "mine-2"):
        used = command("use", "mine-recipe")
        assert used.exit_code == 0, used.output
        assert Path(folder, "dmt.yaml").is_file()
    assert command("use", "mine-recipe", "--to", "mine").exit_code == 2


def test_the_revision_of_the_model_is_kept_under_either_name() -> None:
    sources = {"base_model": {"path": "org/base", "local": False, "revision": "b" * 40}}
    raw = {**RAW, "base_model": "org/base", "model_revision": "main"}
    config = clean(raw, sources, "x").config
    assert config["revision_of_model"] == "b" * 40
    assert "model_revision" not in config
    config = clean(raw, {}, "x").config
    assert config["model_revision"] == "main"


PLANTED = "orange-river-4"


def test_no_planted_secret_is_left_in_a_file_of_a_recipe(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tokens = [token.split("=")[-3 if "AccountKey" in token else -1] for token in TOKENS.values()]
    planted = {
        **{f"setting_{number}": token for number, token in enumerate(TOKENS.values())},
        **dict.fromkeys(SECRET_KEYS, PLANTED),
        "model_kwargs": dict.fromkeys(SECRET_KEYS, PLANTED),
        "mlflow_uri": f"https://me:{PLANTED}@host/?token={PLANTED}",
        "deepspeed": {"monitor": {"headers": {"x": PLANTED}}},
        "datasets": [
            *RAW["datasets"][:2],
            {
                "path": f"https://host/x.jsonl?sig={PLANTED}",
                "domain": "general",
                "type": "chat_template",
                "storage_options": {"account": PLANTED},
            },
        ],
    }
    save_config(masked({**RAW, **planted}), run)
    exported = command("export", str(run), "--name", "mine")
    assert exported.exit_code == 0, exported.output
    files = [path for path in Path("mine-recipe").rglob("*") if path.is_file()]
    texts = [path.read_text(errors="replace") for path in files] + [exported.output]
    assert len(files) >= 3
    for secret in [PLANTED, *tokens]:
        assert not [text for text in texts if secret in text], secret
    shared = yaml.safe_load(Path("mine-recipe/dmt.yaml").read_text())
    assert shared["model_kwargs"] == dict.fromkeys(SECRET_KEYS, "***")
    assert shared["private_key"] == "***"
