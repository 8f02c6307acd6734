"""Plugins and options of Axolotl that change the model, the loss or what is saved, with stages."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.evaluation.adapter_model import WRAPPER
from axolotl_dmt.evaluation.saved import score_saved_stage
from tests.e2e.forks import train_all
from tests.e2e.runs import Finished, config
from tests.tiny_model import make_model

pytestmark = pytest.mark.slow

STAGES = ("01-specialise", "02-generalise")
MLP = r"layers\.0\.mlp"
PADDED = {
    "adapter": "lora",
    "lora_r": 4,
    "lora_alpha": 8,
    "lora_target_modules": ["q_proj", "v_proj"],
    "lora_modules_to_save": ["embed_tokens", "lm_head"],
    "tokens": ["<calc>", "</calc>"],
    "resize_token_embeddings_to_32x": True,
}


def settings(toy: Path, output: Path, *plugins: str, **changes: Any) -> dict[str, Any]:
    made = config(toy, output, **{"max_steps": 3, **changes})
    made["plugins"] += [f"axolotl.integrations.{name}" for name in plugins]
    return made


def freezing(made: dict[str, Any]) -> dict[str, Any]:
    made["dmt"] = {**made["dmt"], "overrides": {"generalise": {"freeze": [MLP]}}}
    return made


def scoring(made: dict[str, Any], toy: Path) -> dict[str, Any]:
    data = {"math": str(toy / "data/math_test.jsonl")}
    evaluate = {"tasks": ["dmt_math"], "data": data, "max_new_tokens": 4, "limit": 3}
    made["dmt"] = {**made["dmt"], "evaluate": evaluate}
    return made


def padded(toy: Path, folder: Path) -> dict[str, Any]:
    """Return settings for LoRA on a model with input and output embeddings of its own."""
    made = settings(toy, folder / "padded", **PADDED)
    made["base_model"] = make_model(folder / "untied")
    made["dataset_prepared_path"] = str(folder / "prepared")
    made["sequence_len"] = 512  # its tokens are characters
    return made


def second_of(made: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return settings for the second stage alone, which starts at the first one's adapter."""
    dmt = {**made["dmt"], "start_stage": "generalise"}
    first = str(folder / "padded/stages" / STAGES[0])
    return {**made, "dmt": dmt, "lora_model_dir": first, "output_dir": str(folder / "second")}


def write_signal_to_noise(folder: Path) -> None:
    """Write the file that Spectrum chooses layers by: in layer 2 the ratio is highest."""
    layers = {
        f"model.layers.{index}.mlp.{part}": {"snr": float(index), "type": f"mlp.{part}"}
        for index in range(3)
        for part in ("up_proj", "down_proj")
    }
    (folder / "model_snr_results").mkdir()
    file = folder / "model_snr_results/snr_results_tiny-model.json"
    file.write_text(json.dumps(layers))


@pytest.fixture(scope="module")
def finished(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    folder = tmp_path_factory.mktemp("plugins")
    write_signal_to_noise(folder)
    spectrum = settings(
        toy,
        folder / "spectrum",
        "spectrum.SpectrumPlugin",
        spectrum_model_name="tiny/model",
        spectrum_top_fraction=0.7,
    )
    first = padded(toy, folder)
    return train_all(
        folder,
        {
            "plain": settings(toy, folder / "plain", val_set_size=9),
            "eaft": settings(toy, folder / "eaft", val_set_size=9, use_eaft=True),
            "spectrum": spectrum,
            "padded": scoring(first, toy),
            "second": second_of(padded(toy, folder), folder),
        },
    )


def stage_weights(done: Finished) -> list[dict[str, Any]]:
    assert done.code == 0, done.output[-4000:]
    names = ("model.safetensors", "adapter_model.safetensors")
    folders = [done.folder / "stages" / name for name in STAGES]
    return [
        load_file(next(folder / name for name in names if (folder / name).is_file()))
        for folder in folders
    ]


def losses(done: Finished) -> list[float]:
    assert done.code == 0, done.output[-4000:]
    return [point["loss"] for point in done.results["learning_curve"]]


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if not before[name].equal(after[name])}


def test_eaft_weighs_the_loss_of_both_stages(finished: dict[str, Finished]) -> None:
    plain, weighted = losses(finished["plain"]), losses(finished["eaft"])
    assert len(plain) == len(weighted) == 6
    # The entropy of an untrained model's 20 most likely tokens is close to log(20).
    assert weighted[0] == pytest.approx(plain[0] * math.log(20), rel=0.1)
    assert weighted[3] > 1.5 * plain[3]
    for stage in finished["eaft"].results["stages"]:
        assert all(loss > 0 for loss in stage["held_out_loss"].values())


def test_spectrum_trains_the_layers_with_the_highest_ratio(
    toy: Path, finished: dict[str, Finished]
) -> None:
    first, second = stage_weights(finished["spectrum"])
    start = load_file(toy / "base/model.safetensors")
    chosen = {f"model.layers.{i}.mlp.{p}.weight" for i in (1, 2) for p in ("up_proj", "down_proj")}
    expected = chosen | {"model.embed_tokens.weight"}
    assert changed(start, first) == changed(first, second) == expected


def test_stages_of_an_adapter_hold_the_padded_embeddings(finished: dict[str, Finished]) -> None:
    first, second = stage_weights(finished["padded"])
    embeddings = {f"{WRAPPER}model.embed_tokens.weight", f"{WRAPPER}lm_head.weight"}
    assert {len(first[name]) for name in embeddings} == {128}  # 105 tokens
    assert embeddings < changed(first, second)


def test_a_run_that_starts_at_a_stage_goes_on_with_its_embeddings(
    finished: dict[str, Finished],
) -> None:
    assert finished["second"].code == 0, finished["second"].output[-4000:]
    expected = stage_weights(finished["padded"])[1]
    weights = load_file(finished["second"].folder / "adapter_model.safetensors")
    assert not changed(expected, weights)


def test_a_saved_stage_with_padded_embeddings_has_the_scores_of_the_live_model(
    toy: Path, finished: dict[str, Finished]
) -> None:
    done = finished["padded"]
    evaluate = scoring({"dmt": {}}, toy)["dmt"]["evaluate"]
    scored = score_saved_stage(
        done.folder / "stages" / STAGES[1], EvaluateConfig.model_validate(evaluate)
    )
    assert scored.error is None
    live = done.results["stages"][1]["scores"]
    assert {name: score.value for name, score in scored.scores.items()} == {
        name: score["value"] for name, score in live.items()
    }


@pytest.fixture(scope="module")
def slowly_finished(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    folder = tmp_path_factory.mktemp("slow_plugins")
    # Triton's interpreter cannot run the kernel of liger_rms_norm.
    kernels = ("glu_activation", "rope", "fused_linear_cross_entropy")
    few = {"micro_batch_size": 2, "max_steps": 2}  # interpreted kernels are slow
    liger = {**few, **{f"liger_{name}": True for name in kernels}}
    scored = settings(toy, folder / "lm_eval", "lm_eval.LMEvalPlugin", lm_eval_tasks=["dmt_math"])
    hidden = {"gradient_checkpointing": True, "activation_offloading": "hidden_states"}
    compiled = {"torch_compile": True, "torch_compile_backend": "eager"}
    return train_all(
        folder,
        {
            "plain": settings(toy, folder / "plain"),
            "few_rows": settings(toy, folder / "few_rows", **few),
            "liger": settings(toy, folder / "liger", "liger.LigerPlugin", **liger),
            "lm_eval": scoring(scored, toy),
            "hidden_states": freezing(settings(toy, folder / "hidden", **hidden)),
            "compiled": freezing(settings(toy, folder / "compiled", **compiled)),
            "offload": settings(toy, folder / "offload", gradient_checkpointing="offload"),
        },
        {
            "liger": {"TRITON_INTERPRET": "1"},  # Triton then needs no GPU
            "lm_eval": {
                "DMT_MATH_DATA": str(toy / "data/math_test.jsonl"),
                "DMT_MAX_GEN_TOKS": "4",
            },
        },
    )


@pytest.mark.slow
def test_ligers_kernels_train_the_same_stages(slowly_finished: dict[str, Finished]) -> None:
    plain, kernels = losses(slowly_finished["few_rows"]), losses(slowly_finished["liger"])
    assert kernels == pytest.approx(plain, rel=1e-3)


@pytest.mark.slow
def test_the_lm_eval_plugin_scores_the_last_stage_after_our_table(
    slowly_finished: dict[str, Finished],
) -> None:
    done = slowly_finished["lm_eval"]
    assert done.code == 0, done.output[-4000:]
    (file,) = done.folder.glob("lm_eval_results/**/results_*.json")
    theirs = json.loads(file.read_text())["results"]["dmt_math"]["dmt_score,none"]
    assert theirs == done.results["stages"][1]["scores"]["math"]["value"]
    assert done.output.index("forgetting") < done.output.rindex("dmt_math")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hidden_states", "compiled"])
def test_what_a_stage_freezes_and_saves_has_its_plain_names(
    name: str, slowly_finished: dict[str, Finished]
) -> None:
    first, second = stage_weights(slowly_finished[name])
    assert first.keys() == stage_weights(slowly_finished["plain"])[0].keys()
    assert set(first) - changed(first, second) == {n for n in first if "layers.0.mlp" in n}
    assert losses(slowly_finished[name])[:3] == pytest.approx(
        losses(slowly_finished["plain"])[:3], rel=1e-4
    )


@pytest.mark.slow
def test_offloading_without_a_gpu_ends_in_one_line(slowly_finished: dict[str, Finished]) -> None:
    done = slowly_finished["offload"]
    assert done.code == 2
    assert "axolotl-dmt: activation_offloading: True " in done.output
    assert "Traceback" not in done.output
