"""A small vision-language model trains both stages on rows that Axolotl's collator tokenises."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from axolotl_dmt.checks.yaml_check import check_file
from axolotl_dmt.cli.plan import show_plan
from tests.e2e import spy
from tests.e2e.runs import Finished, axolotl, config, train, write
from tests.mistakes import assert_mistake
from tests.tiny_vlm import make_vlm, picture_rows, row, write_rows

pytestmark = pytest.mark.long

PICTURES, TEXTS, HELD_OUT, BATCH = 26, 14, 2, 8


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model, rows with images and rows without to a folder."""
    folder = tmp_path_factory.mktemp("vlm")
    make_vlm(folder / "base")
    write_rows(folder / "general.jsonl", picture_rows(PICTURES, folder / "images"))
    write_rows(folder / "math.jsonl", [row(f"{n} plus 1?", str(n + 1)) for n in range(TEXTS)])
    return folder


def settings(vlm: Path, output: Path, toy: Path | None = None, **changes: Any) -> dict[str, Any]:
    dmt: dict[str, Any] = {"strategy": "dmt", "k": "1/4", "val_rows": HELD_OUT}
    if toy is not None:
        data = {"math": str(toy / "data/math_test.jsonl")}
        dmt["evaluate"] = {"tasks": ["dmt_math"], "data": data, "max_new_tokens": 4}
    return {
        "base_model": str(vlm / "base"),
        "processor_type": "AutoProcessor",
        "skip_prepare_dataset": True,
        "remove_unused_columns": False,
        "sample_packing": False,
        "plugins": ["axolotl_dmt.DMTPlugin", "tests.e2e.killer.KillerPlugin"],
        "datasets": [
            {
                "path": str(vlm / f"{name}.jsonl"),
                "ds_type": "json",
                "type": "chat_template",
                "domain": name,
            }
            for name in ("math", "general")
        ],
        "dmt": dmt,
        "dataset_prepared_path": str(vlm / "prepared"),
        "output_dir": str(output),
        "sequence_len": 128,
        "micro_batch_size": BATCH // 2,
        "gradient_accumulation_steps": 2,
        "num_epochs": 1,
        "learning_rate": 1e-2,
        "optimizer": "adamw_torch",
        "lr_scheduler": "cosine",
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        "auto_resume_from_checkpoints": True,
        "bf16": False,
        "seed": 7,
        **changes,
    }


@pytest.fixture(scope="module")
def finished(vlm: Path, toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("multimodal")
    made = settings(vlm, folder / "out", toy)
    made["plugins"].append("tests.e2e.spy.SpyPlugin")
    (folder / "spy").mkdir()
    done = train(folder, made, SPY_FILE=str(folder / "spy/seen"))
    assert done.code == 0, done.output[-4000:]
    return done


def test_every_row_of_a_stage_is_trained_once(vlm: Path, finished: Finished) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(vlm / "base")
    math, stages = TEXTS - HELD_OUT, finished.results["stages"]
    assert [stage["rows"]["math"] for stage in stages] == [math, math // 4]
    assert stages[1]["rows"]["general"] == PICTURES - HELD_OUT
    assert [stage["end_step"] for stage in stages] == [2, 6]
    questions: list[list[str]] = [[], []]
    for seen in spy.read(finished.folder.parent / "spy"):
        for tokens in spy.trained_rows(seen):
            questions[seen["step"] >= 2].append(tokenizer.decode(tokens))
    assert [len(asked) for asked in questions] == [math, math // 4 + PICTURES - HELD_OUT]
    assert [len(set(asked)) for asked in questions] == [len(asked) for asked in questions]
    assert sum("<image>" in question for question in questions[1]) == PICTURES - HELD_OUT


def test_blank_micro_batches_add_nothing(finished: Finished) -> None:
    losses: dict[int, float] = {}
    for seen in spy.read(finished.folder.parent / "spy"):
        assert (seen["loss"] > 0) == bool(spy.trained_rows(seen))
        losses[seen["step"]] = losses.get(seen["step"], 0) + seen["loss"]
    logged = [point["loss"] for point in finished.results["learning_curve"]]
    assert [*losses.values()] == pytest.approx(logged)
    # The loss of a half-blank step is the mean over its real rows, not half of it.
    assert 0.8 < logged[1] / logged[0] < 1.2


def test_each_stage_is_scored_and_has_a_loss_by_domain(finished: Finished) -> None:
    for stage in finished.results["stages"]:
        assert set(stage["held_out_loss"]) == {"math", "general"}
        assert all(loss > 0 for loss in stage["held_out_loss"].values())
        assert "math" in stage["scores"]


def test_a_stages_folder_holds_the_processor(finished: Finished) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    for name in ("01-specialise", "02-generalise"):
        folder = finished.folder / "stages" / name
        assert AutoProcessor.from_pretrained(folder).image_token == "<image>"
        AutoModelForImageTextToText.from_pretrained(folder)


def test_check_and_plan_count_rows(
    vlm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write(tmp_path / "dmt.yaml", settings(vlm, tmp_path / "out")))
    assert check_file(path).mistakes == ()
    show_plan(path, as_json=False, plot=None, rows=None, cost=False)
    shown = capsys.readouterr()
    assert "tokenising" not in shown.err
    (line,) = [line for line in shown.out.splitlines() if line.split()[:1] == ["generalise"]][-1:]
    rows, pictures = str(TEXTS - HELD_OUT), str(PICTURES - HELD_OUT)
    assert line.split() == f"generalise math 3 {rows} 25.0% 3 11.1% 1 ? ? 11.1%".split()
    assert pictures in shown.out


@pytest.mark.slow
def test_tokenised_rows_are_trained_without_preparing_them(toy: Path, tmp_path: Path) -> None:
    tokens = {"input_ids": [5, 6, 7, 8], "labels": [-100, 6, 7, 8], "attention_mask": [1] * 4}
    entries = []
    for name in ("math", "general"):
        path = write_rows(tmp_path / f"{name}.jsonl", [tokens] * 20)
        entries.append({"path": path, "ds_type": "json", "type": "", "domain": name})
    dmt = {"strategy": "dmt", "k": "1/4"}
    made = config(toy, tmp_path / "out", datasets=entries, dmt=dmt, skip_prepare_dataset=True)
    done = train(tmp_path, made)
    assert done.code == 0, done.output[-4000:]
    assert [stage["end_step"] for stage in done.results["stages"]] == [3, 7]


@pytest.mark.slow
def test_commands_that_need_tokens_say_so(vlm: Path, finished: Finished, tmp_path: Path) -> None:
    path = str(write(tmp_path / "dmt.yaml", settings(vlm, tmp_path / "out")))
    model = str(finished.folder / "stages/01-specialise")
    for command in (
        ["row-losses", path, "--model", model],
        ["visualise", str(finished.folder), "--config", path],
    ):
        done = axolotl("dmt", *command)
        assert done.returncode == 2
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("axolotl-dmt: ")]
        assert_mistake(line, "axolotl-dmt: skip_prepare_dataset", command[0])


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", ["checkpoint:2", "step:4"])
def test_a_killed_run_ends_as_the_unbroken_one(
    vlm: Path, toy: Path, tmp_path: Path, finished: Finished, kill_at: str
) -> None:
    made = settings(vlm, tmp_path / "out", toy)
    assert train(tmp_path, made, KILL_AT=kill_at).code != 0
    edited = (vlm / "math.jsonl").read_text().replace("plus", "plis")
    (tmp_path / "math.jsonl").write_text(edited)
    other = yaml.safe_load(yaml.safe_dump(made))
    other["datasets"][0]["path"] = str(tmp_path / "math.jsonl")
    refused = train(tmp_path, other)
    assert refused.code == 2
    assert "resume_from_checkpoint" in refused.output
    resumed = train(tmp_path, made)
    assert resumed.code == 0, resumed.output[-4000:]
    for part in (".", "stages/01-specialise", "stages/02-generalise"):
        hashes = {
            hashlib.sha256((run.folder / part / "model.safetensors").read_bytes()).hexdigest()
            for run in (resumed, finished)
        }
        assert len(hashes) == 1
