"""From which checkpoints a run resumes, and under which plan and rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from axolotl.utils.dict import DictDefault
from transformers import TrainerState

from axolotl_dmt.plan import TrainingPlan, compile_plan
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.training.checkpoint_files import defect, lacks_optimizer
from axolotl_dmt.training.prepare import _check_resume, _checkpoint
from axolotl_dmt.training.resume import (
    SECONDS,
    STATE_KEY,
    check_plan,
    seconds_before,
    set_aside_incomplete,
)
from tests.checkpoints import make_checkpoint
from tests.mistakes import expect_error
from tests.pools import domain, stage

KEY = "resume_from_checkpoint"
CONTENT = {"math": ("m", "n"), "chat": ("c",), "unused": ("u",)}


def plan_of(
    paths: tuple[str, str] = ("m.jsonl", "n.jsonl"),
    content: dict[str, tuple[str, ...]] | None = None,
    rows: int = 60,
) -> TrainingPlan:
    content = CONTENT if content is None else content
    plan = compile_plan(
        stages=[stage({"math": "all", "chat": "1/2"})],
        domains=[
            domain("math", 80, datasets=tuple(zip(paths, (30, 50), strict=True))),
            domain("chat", rows),
            domain("unused", 10),
        ],
        seed=1,
        global_batch=8,
    )
    pools = tuple(replace(pool, content=content.get(pool.name, ())) for pool in plan.pools)
    return replace(plan, pools=pools)


def checkpoint_of(plan: TrainingPlan, output_dir: Path) -> Path:
    plan.save(RunFolder(output_dir).plan)
    return make_checkpoint(output_dir / "checkpoint-4", plan.fingerprint)


def cut(file: Path, size: int = 100) -> None:
    file.write_bytes(file.read_bytes()[:size])


def test_the_content_is_saved_beside_the_fingerprint_and_not_in_it(tmp_path: Path) -> None:
    plan = plan_of()
    assert plan.fingerprint == plan_of(content={}).fingerprint
    plan.save(tmp_path)
    assert TrainingPlan.load(tmp_path).pools == plan.pools


def test_the_same_plan_is_followed(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(plan_of(), tmp_path)
    assert check_plan(checkpoint, plan_of(), replan=False).pools == plan_of().pools


def test_edited_rows_are_refused_by_the_path_of_their_file(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(plan_of(), tmp_path)
    edited = plan_of(content={**CONTENT, "math": ("m", "other")})
    with expect_error(KEY, checkpoint, "the rows of n.jsonl", "replan"):
        check_plan(checkpoint, edited, replan=False)
    assert check_plan(checkpoint, edited, replan=True).pools == edited.pools


def test_rows_that_no_stage_uses_may_change(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(plan_of(), tmp_path)
    edited = plan_of(content={**CONTENT, "unused": ("other",)})
    assert check_plan(checkpoint, edited, replan=False).pools == edited.pools


def test_the_same_rows_under_another_path_keep_the_fingerprint(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(plan_of(), tmp_path)
    moved = plan_of(paths=("/moved/m.jsonl", "./n.jsonl"))
    assert moved.fingerprint != plan_of().fingerprint
    assert check_plan(checkpoint, moved, replan=False).fingerprint == plan_of().fingerprint


@pytest.mark.parametrize("content", [{}, {**CONTENT, "math": ("m", "other")}])
def test_another_path_is_refused_where_the_rows_are_unknown_or_differ(
    tmp_path: Path, content: dict[str, tuple[str, ...]]
) -> None:
    checkpoint = checkpoint_of(plan_of(), tmp_path)
    moved = plan_of(paths=("/moved/m.jsonl", "n.jsonl"), content=content)
    with expect_error(KEY, checkpoint, "/moved/m.jsonl"):
        check_plan(checkpoint, moved, replan=False)


def test_a_checkpoint_of_a_version_without_content_is_resumed(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(plan_of(content={}), tmp_path)
    assert "content" not in (RunFolder(tmp_path).plan / "plan.json").read_text()
    assert check_plan(checkpoint, plan_of(), replan=False).pools == plan_of().pools


def test_another_plan_is_refused_with_its_changes(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(plan_of(), tmp_path)
    with expect_error(KEY, checkpoint, "domain chat: rows: was 60, is 64"):
        check_plan(checkpoint, plan_of(rows=64), replan=False)


@pytest.mark.parametrize("replan", [False, True])
def test_a_checkpoint_of_the_model_only_is_refused(tmp_path: Path, replan: bool) -> None:
    checkpoint = checkpoint_of(plan_of(), tmp_path)
    (checkpoint / "optimizer.pt").unlink()
    (checkpoint / "scheduler.pt").unlink()
    with expect_error(KEY, checkpoint, "save_only_model"):
        check_plan(checkpoint, plan_of(), replan=replan)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("trainer_state.json", None),
        ("trainer_state.json", 20),
        ("trainer_state.json", 0),
        ("model.safetensors", None),
        ("model.safetensors", 90),
        ("model.safetensors", 4),
        ("model.safetensors", 0),
        ("optimizer.pt", 100),
        ("optimizer.pt", 0),
        ("scheduler.pt", 100),
        ("rng_state.pth", 100),
    ],
)
def test_the_last_whole_checkpoint_is_used(tmp_path: Path, name: str, size: int | None) -> None:
    whole = make_checkpoint(tmp_path / "checkpoint-2")
    broken = make_checkpoint(tmp_path / "checkpoint-4")
    if size is None:
        (broken / name).unlink()
    else:
        cut(broken / name, size)
    with expect_error(KEY, broken, name if (broken / name).exists() else "missing"):
        check_plan(broken, plan_of(), replan=True)
    (renamed,) = set_aside_incomplete(tmp_path)
    assert renamed.name.startswith("incomplete-checkpoint-4")
    assert RunFolder(tmp_path).checkpoints() == [whole]


def test_what_is_no_checkpoint_is_left_alone(tmp_path: Path) -> None:
    whole = make_checkpoint(tmp_path / "checkpoint-2")
    (tmp_path / "checkpoint-7").write_text("a file")
    (tmp_path / "checkpoint-final").mkdir()
    (tmp_path / "checkpoint-999").mkdir()
    (renamed,) = set_aside_incomplete(tmp_path)
    assert renamed.name.startswith("incomplete-checkpoint-999")
    assert RunFolder(tmp_path).checkpoints() == [whole]
    assert (tmp_path / "checkpoint-7").is_file()
    assert (tmp_path / "checkpoint-final").is_dir()


def test_a_checkpoint_of_the_model_only_gives_way_to_a_whole_one_only(tmp_path: Path) -> None:
    model_only = make_checkpoint(tmp_path / "checkpoint-4")
    (model_only / "optimizer.pt").unlink()
    assert set_aside_incomplete(tmp_path) == []  # the run must not start from scratch in silence
    whole = make_checkpoint(tmp_path / "checkpoint-2")
    assert len(set_aside_incomplete(tmp_path)) == 1
    assert RunFolder(tmp_path).checkpoints() == [whole]


@pytest.mark.parametrize(
    "names",
    [
        ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt"),
        ("pytorch_model_fsdp.bin", "optimizer.bin", "scheduler.pt"),
        ("pytorch_model_fsdp_0/__0_0.distcp", "optimizer_0/__0_0.distcp", "scheduler.pt"),
        ("global_step4/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "latest"),
    ],
)
def test_the_layouts_of_adapters_fsdp_and_deepspeed_are_whole(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    source = make_checkpoint(tmp_path / "checkpoint-2")
    folder = tmp_path / "checkpoint-4"
    for name in (*names, "trainer_state.json"):
        suffix = Path(name).suffix
        like = {".safetensors": "model.safetensors", ".json": name}.get(suffix, "optimizer.pt")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((source / like).read_bytes())
    assert defect(folder) is None
    assert not lacks_optimizer(folder)


def test_every_shard_must_be_there(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint-4")
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"weight": "model.safetensors", "b": "model-2.safetensors"}}')
    assert defect(folder) == "model-2.safetensors is missing"


def test_auto_resume_takes_the_last_whole_checkpoint_for_the_plan_to_follow(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(plan_of(), tmp_path)
    (tmp_path / "checkpoint-5").mkdir()
    (tmp_path / "checkpoint-7").write_text("a file")
    cfg = DictDefault({"output_dir": str(tmp_path), "auto_resume_from_checkpoints": True})
    schedule = SimpleNamespace(config=SimpleNamespace(on_plan_change="refuse"))
    run: Any = SimpleNamespace(schedule=schedule)
    moved = plan_of(paths=("/moved/m.jsonl", "n.jsonl"))
    assert _check_resume(run, cfg, moved).fingerprint == plan_of().fingerprint
    assert _checkpoint(cfg) == str(checkpoint)
    assert _checkpoint(DictDefault({"output_dir": str(tmp_path)})) is None


def test_a_stage_that_resumes_has_trained_before() -> None:
    """The training time of a stage includes that before the checkpoint."""
    plan = compile_plan(
        stages=[stage({"math": "all"}), stage({"general": "all"}, name="second")],
        domains=[domain("math", 80), domain("general", 80)],
        seed=1,
        global_batch=8,
    )
    saved = {STATE_KEY: {"args": {}, "attributes": {"plan_fingerprint": "x", SECONDS: 12.5}}}
    first, second = plan.stages
    within = TrainerState(global_step=second.start_step + 2, stateful_callbacks=saved)
    at_start = TrainerState(global_step=second.start_step, stateful_callbacks=saved)
    assert seconds_before(within, second) == 12.5
    assert seconds_before(at_start, second) == 0.0
    older = {STATE_KEY: {"args": {}, "attributes": {"plan_fingerprint": "x"}}}
    assert seconds_before(TrainerState(global_step=3, stateful_callbacks=older), first) == 0.0
