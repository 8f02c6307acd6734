"""What is checked of the raw YAML before any model or data is loaded."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from axolotl.utils.dict import DictDefault

from axolotl_dmt.checks.axolotl_keys import UNSUPPORTED
from axolotl_dmt.checks.stages import UNSTACKABLE
from axolotl_dmt.errors import DMTError
from axolotl_dmt.plugin import DMTPlugin
from axolotl_dmt.training.run import Run
from tests.mistakes import assert_mistake

GOOD: dict[str, Any] = {
    "output_dir": "outputs/test-run",
    "base_model": "some/model",
    "datasets": [
        {"path": "org/math", "type": "alpaca", "domain": "math"},
        {"path": "org/code", "type": "alpaca", "domain": "code"},
        {"path": "org/chat", "type": "alpaca", "domain": "general"},
    ],
    "dmt": {"strategy": "dmt", "k": "1/16"},
    "learning_rate": "2e-5",
    "num_epochs": 3,
}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def raw(**changes: Any) -> DictDefault:
    return DictDefault({**copy.deepcopy(GOOD), **changes})


def refusal(cfg: DictDefault) -> str:
    with pytest.raises(DMTError) as caught:
        Run.from_raw(cfg)
    return str(caught.value)


def overrides(**changes: Any) -> dict[str, Any]:
    """A block that changes the second stage."""
    return {"dmt": {"strategy": "dmt", "overrides": {"generalise": changes}}}


def test_domains_are_kept_under_dmt_and_taken_off_the_datasets() -> None:
    cfg = raw()
    run = Run.from_raw(cfg)
    assert run.schedule.dataset_domains == ("math", "code", "general")
    assert cfg.dmt.dataset_domains == ["math", "code", "general"]
    assert all("domain" not in entry for entry in cfg.datasets)


def test_a_configuration_that_was_checked_before_can_be_checked_again() -> None:
    cfg = raw()
    Run.from_raw(cfg)
    assert Run.from_raw(cfg).schedule.dataset_domains == ("math", "code", "general")


def test_without_a_dmt_block_nothing_is_touched() -> None:
    cfg = raw()
    del cfg["dmt"]
    before = copy.deepcopy(cfg)
    plugin = DMTPlugin()
    plugin.register(cfg)
    assert cfg == before
    assert plugin.load_datasets(cfg) is None
    assert plugin.get_trainer_cls(cfg) is None
    assert plugin.add_callbacks_post_trainer(cfg, trainer=None) == []


def test_a_dataset_without_a_domain_is_named() -> None:
    datasets = [dict(entry) for entry in GOOD["datasets"]]
    del datasets[1]["domain"]
    assert_mistake(refusal(raw(datasets=datasets)), "datasets[1].domain", "org/code")


def test_a_yaml_without_datasets_is_refused() -> None:
    assert_mistake(refusal(raw(datasets=[])), "datasets")


@pytest.mark.parametrize("key", sorted(UNSUPPORTED))
def test_what_cannot_stand_beside_dmt_is_refused_with_advice(key: str) -> None:
    said = refusal(raw(**{key: "dpo" if key == "rl" else True}))
    assert_mistake(said, key, UNSUPPORTED[key])


@pytest.mark.parametrize("key", sorted(UNSTACKABLE))
def test_what_cannot_be_stacked_is_refused_beside_a_new_adapter(key: str) -> None:
    said = refusal(raw(**overrides(adapter="new"), adapter="lora", **{key: "x"}))
    assert key in {line.split(":")[0] for line in said.splitlines()}


def test_what_stages_need_of_axolotl_is_set_where_the_yaml_leaves_it_open() -> None:
    cfg = raw(**overrides(freeze=["embed_tokens"]), gradient_checkpointing=True)
    Run.from_raw(cfg)
    assert cfg.ddp_find_unused_parameters is True
    assert cfg.gradient_checkpointing_kwargs == {"use_reentrant": False}
    cfg = raw(**overrides(adapter="new"), adapter="lora")
    Run.from_raw(cfg)
    assert cfg.lora_mlp_kernel is False
    assert cfg.ddp_find_unused_parameters is None


@pytest.mark.parametrize("has_gpu", [False, True])
def test_lora_kernels_are_off_by_default_where_no_gpu_can_run_them(
    has_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_gpu)
    cfg = raw(adapter="lora")
    Run.from_raw(cfg)
    assert cfg.lora_mlp_kernel is (None if has_gpu else False)
    for kept in (raw(adapter="lora", lora_mlp_kernel=True), raw(adapter="lora", use_ray=True)):
        before = kept.lora_mlp_kernel
        Run.from_raw(kept)
        assert kept.lora_mlp_kernel is before
        assert kept.lora_qkv_kernel is None


def test_frozen_parameters_that_several_processes_would_wait_for_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    frozen = overrides(freeze=["embed_tokens"])
    said = refusal(raw(**frozen, ddp_find_unused_parameters=False))
    assert_mistake(said, "ddp_find_unused_parameters", "false")
    said = refusal(raw(**frozen, gradient_checkpointing_kwargs={"use_reentrant": True}))
    assert_mistake(said, "gradient_checkpointing_kwargs", "use_reentrant: true")


def test_a_learning_rate_that_is_no_number_is_named() -> None:
    assert_mistake(refusal(raw(learning_rate="fast")), "learning_rate", "'fast'")


def test_every_mistake_is_reported_at_once() -> None:
    datasets = [{"path": "org/a"}]
    lines = refusal(raw(rl="dpo", datasets=datasets, dmt={"strategy": "dmt", "k": 9})).splitlines()
    assert {line.split(":")[0] for line in lines} == {"dmt.k", "rl", "datasets[0].domain"}


def test_an_unknown_task_is_refused_before_training() -> None:
    block = {"strategy": "dmt", "evaluate": {"tasks": ["no_such_task"]}}
    assert_mistake(refusal(raw(dmt=block)), "dmt.evaluate.tasks[0]", "'no_such_task'")


def test_a_missing_test_file_is_refused_before_training() -> None:
    block = {"strategy": "dmt", "evaluate": {"data": {"math": "missing.jsonl"}}}
    assert_mistake(refusal(raw(dmt=block)), "dmt.evaluate.data.math", "missing.jsonl")


def test_all_missing_files_are_named_in_one_go_unless_they_may_be_prepared() -> None:
    datasets = [{**entry, "path": f"{entry['domain']}.jsonl"} for entry in GOOD["datasets"]]
    block = {"strategy": "dmt", "evaluate": {"data": {"math": "test.jsonl"}}}
    cfg = raw(base_model="./nowhere", datasets=datasets, dmt=block)
    assert [line.split(":")[0] for line in refusal(cfg).splitlines()] == [
        "base_model",
        "dmt.evaluate.data.math",
        "datasets[0].path",
        "datasets[1].path",
        "datasets[2].path",
    ]
    Path("last_run_prepared/digest").mkdir(parents=True)
    Run.from_raw(raw(datasets=datasets))


def test_a_column_that_its_file_does_not_have_is_refused_before_anything_loads() -> None:
    Path("math.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    fields = {"field_instruction": "questoin", "field_output": "answer"}
    entry = {"path": "math.jsonl", "type": fields, "domain": "math"}
    said = refusal(raw(datasets=[entry, *GOOD["datasets"][1:]]))
    key = "datasets[0].type.field_instruction"
    assert_mistake(said, key, "'questoin'", "math.jsonl", "question, answer", "'question'?")


def test_a_mistake_ends_the_process_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        DMTPlugin().register(raw(dmt={"strategy": "dmt", "k": 9}))
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert_mistake(line, "axolotl-dmt: dmt.k", 9, "1/256")


def test_a_start_stage_that_is_not_there_lists_the_stages() -> None:
    block = {"strategy": "dmt", "start_stage": "generalize"}
    said = refusal(raw(dmt=block))
    assert_mistake(said, "dmt.start_stage", "'generalize'", "specialise, generalise")


@pytest.mark.parametrize("block", [None, False, 0, {}, "", [], True, "dmt", 5])
def test_a_dmt_key_without_a_block_is_refused_and_not_ignored(block: Any) -> None:
    with pytest.raises(SystemExit):
        DMTPlugin().register(raw(dmt=block))
    assert_mistake(refusal(raw(dmt=block)), "dmt")


@pytest.mark.parametrize("datasets", [{"path": "a.jsonl"}, "a.jsonl", ["a.jsonl"]])
def test_datasets_that_are_no_list_of_entries_are_refused(datasets: Any) -> None:
    assert_mistake(refusal(raw(datasets=datasets)), "datasets")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_epochs": 0}, ("num_epochs", "0")),
        ({"micro_batch_size": 0}, ("micro_batch_size",)),
        ({"output_dir": "/proc/nope"}, ("output_dir", "/proc/nope")),
        ({"lr_scheduler": "cosin"}, ("lr_scheduler", "'cosin'", "specialise")),
        ({"lr_scheduler": "greedy"}, ("lr_scheduler", "'greedy'", "specialise")),
        (
            {"lr_scheduler": "reduce_lr_on_plateau"},
            ("lr_scheduler", "'reduce_lr_on_plateau'", "specialise"),
        ),
        (
            {"lr_scheduler": "warmup_stable_decay"},
            ("lr_scheduler_kwargs", "'warmup_stable_decay'", "specialise"),
        ),
        (
            {"lr_scheduler": "one_cycle", "lr_scheduler_kwargs": {"min_lr": 1e-6}},
            ("lr_scheduler_kwargs", "'one_cycle'", "specialise"),
        ),
        (overrides(adapter="new"), ("adapter", "new", "generalise")),
        (
            {**overrides(adapter="new"), "adapter": "lora", "peft_use_dora": True},
            ("peft_use_dora", "adapter: new", "generalise"),
        ),
        (
            overrides(adapter="new", reset_optimizer=False),
            ("dmt.overrides.generalise.reset_optimizer", "false", "adapter: new"),
        ),
        ({"save_strategy": "best"}, ("save_strategy", "best")),
        (overrides(freeze=["layers.["]), ("dmt.overrides.generalise.freeze", "'layers.['")),
        (
            {**overrides(freeze=["embed"]), "deepspeed": "zero2.json"},
            ("freeze (stage generalise)", "deepspeed"),
        ),
        ({"dmt": {"strategy": "dmt", "val_rows": -1}}, ("dmt.val_rows", "-1")),
        (
            {"dmt": {"stages": [{"name": "a", "mix": {"math": 0}}]}},
            ("dmt.stages[0].mix",),
        ),
        (
            {"dmt": {"stages": [{"name": "a", "mix": {"math": {"rows": 5.5}}}]}},
            ("dmt.stages[0].mix.math.rows", "5.5"),
        ),
        (
            {"dmt": {"strategy": "dmt", "evaluate": {"prompt": "Q: {questoin}"}}},
            ("dmt.evaluate.prompt", "'Q: {questoin}'", "{question}"),
        ),
    ],
)
def test_what_the_yaml_alone_shows_is_refused_before_data(
    changes: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert_mistake(refusal(raw(**changes)).splitlines()[0], *expected)


def test_an_axolotl_outside_the_tested_range_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("axolotl_dmt.training.environment.version", lambda name: "0.21.0")
    said = refusal(raw())
    assert_mistake(said, "plugins", "axolotl-dmt ", "0.21.0", "pip install 'axolotl")


@pytest.mark.parametrize("domain", ["ma\nth", " math", "math ", "a|b", "", "x" * 65, 5, ["math"]])
def test_a_domain_that_would_break_a_table_or_a_path_is_refused(domain: Any) -> None:
    datasets = [{"path": "a", "domain": domain}]
    assert_mistake(refusal(raw(datasets=datasets)), "datasets[0].domain", "a: ")


@pytest.mark.parametrize("domain", ["math", "数学", "c++", "general chat", "v1.2_a-b", "x" * 64])
def test_domains_are_named_in_any_language(domain: str) -> None:
    datasets = [{"path": "a", "domain": domain}]
    run = Run.from_raw(raw(datasets=datasets, dmt={"strategy": "multi_task"}))
    assert run.schedule.dataset_domains == (domain,)


@pytest.mark.parametrize("model", ["/no/such", "./here", "../up", "~/x", "a/b/c", "outputs/run/x/"])
def test_a_local_model_that_is_not_there_is_refused_in_one_line(model: str) -> None:
    assert_mistake(refusal(raw(base_model=model)), "base_model", model)
    assert_mistake(refusal(raw(base_model="your-model")), "base_model", "your-model")


@pytest.mark.parametrize("weight", [0.5, 2, 0, "0.5"])
def test_the_weight_of_a_dataset_is_refused(weight: object) -> None:
    datasets = copy.deepcopy(GOOD["datasets"])
    datasets[1]["weight"] = weight
    assert_mistake(refusal(raw(datasets=datasets)), "datasets[1].weight", weight, "mix")


@pytest.mark.parametrize("weight", [None, 1, 1.0])
def test_a_weight_that_changes_nothing_is_accepted(weight: object) -> None:
    datasets = copy.deepcopy(GOOD["datasets"])
    datasets[1]["weight"] = weight
    assert Run.from_raw(raw(datasets=datasets)).schedule.domains


def test_checkpoints_of_the_model_only_cannot_be_resumed_automatically() -> None:
    both = {"save_only_model": True, "auto_resume_from_checkpoints": True}
    assert_mistake(refusal(raw(**both)), "save_only_model", "auto_resume_from_checkpoints")
    Run.from_raw(raw(**both, save_strategy="no"))
    for key in both:
        Run.from_raw(raw(**{key: True}))


def test_new_tokens_of_an_adapter_need_their_embeddings() -> None:
    keys = {"adapter": "lora", "tokens": ["<calc>"]}
    message = refusal(raw(**keys))
    assert_mistake(message, "lora_modules_to_save", "new tokens", "[embed_tokens, lm_head]")
    for accepted in (raw(tokens=["<calc>"]), raw(**keys, lora_modules_to_save=["embed_tokens"])):
        assert Run.from_raw(accepted).schedule.domains
