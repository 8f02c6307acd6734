"""Merged models agree with a direct computation, and unsuitable models are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from axolotl_dmt.cli.main import dmt
from axolotl_dmt.results import Results, StageResult
from axolotl_dmt.training.merge import merge_stages, merge_tensors
from tests.mistakes import expect_error
from tests.tiny_model import make_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two stages, as it is after training."""
    folder = tmp_path_factory.mktemp("run")
    names = ("specialise", "generalise")
    for i, name in enumerate(names):
        make_model(folder / "stages" / f"{i + 1:02d}-{name}", seed=i)
    stages = tuple(StageResult(name=name, end_step=i + 1) for i, name in enumerate(names))
    Results(plan_fingerprint="feed", stages=stages).save(folder / "dmt" / "results.json")
    return folder


def weights(run: Path, index: int) -> dict[str, torch.Tensor]:
    (folder,) = (run / "stages").glob(f"0{index}-*")
    return load_file(folder / "model.safetensors")


def merge(run: Path, to: Path, **changes: Any) -> Path:
    stages = changes.pop("stages", ["specialise", "generalise"])
    merge_stages(run, stages, **{"method": "linear", "weight": 0.5, "to": to, **changes})
    return to


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_linear_merge_is_the_weighted_mean_of_every_tensor(
    run: Path, tmp_path: Path, weight: float
) -> None:
    merged = load_file(merge(run, tmp_path / "to", weight=weight) / "model.safetensors")
    first, second = weights(run, 1), weights(run, 2)
    assert merged.keys() == first.keys()
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, (1 - weight) * first[name] + weight * second[name])


def test_slerp_goes_along_the_arc() -> None:
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    merged = merge_tensors("x", first, second, method="slerp", weight=1 / 3)
    torch.testing.assert_close(merged, torch.tensor([3**0.5 / 2, 0.5]))


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_slerp_of_a_model_is_slerp_of_every_tensor(
    run: Path, tmp_path: Path, weight: float
) -> None:
    merged = load_file(
        merge(run, tmp_path / "to", method="slerp", weight=weight) / "model.safetensors"
    )
    first, second = weights(run, 1), weights(run, 2)
    for name, tensor in merged.items():
        a, b = first[name].double().flatten(), second[name].double().flatten()
        angle = torch.acos(torch.clamp(a @ b / (a.norm() * b.norm()), -1, 1))
        expected = (
            (torch.sin((1 - weight) * angle) * a + torch.sin(weight * angle) * b) / torch.sin(angle)
            if angle > 1e-3
            else (1 - weight) * a + weight * b
        )
        torch.testing.assert_close(tensor.double().flatten(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("factor", [0.0, 1.0, 2.0, -1.0])
def test_slerp_without_an_arc_takes_the_line(factor: float) -> None:
    first = torch.tensor([1.0, 2.0])
    merged = merge_tensors("x", first, factor * first, method="slerp", weight=0.5)
    torch.testing.assert_close(merged, (1 + factor) / 2 * first)


def test_the_merge_loads_with_its_tokenizer_and_the_command_says_where(
    run: Path, tmp_path: Path
) -> None:
    to = tmp_path / "deep" / "merged"
    arguments = ["merge", str(run), "--stages", "specialise,generalise", "--method", "slerp"]
    done = CliRunner().invoke(dmt, [*arguments, "--weight", "0.4", "--to", str(to)])
    assert done.exit_code == 0, done.output
    assert str(to) in done.output
    model = AutoModelForCausalLM.from_pretrained(to)
    tokenizer = AutoTokenizer.from_pretrained(to)
    assert model(**tokenizer("1+1=", return_tensors="pt")).logits.isfinite().all()
    assert tokenizer.chat_template
    record = json.loads((to / "dmt_merge.json").read_text())
    assert record == {"stages": ["specialise", "generalise"], "method": "slerp", "weight": 0.4}
    assert [path.name for path in to.parent.iterdir()] == ["merged"]


def test_shards_and_data_types_are_kept(run: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, stage in zip(folders, sorted((run / "stages").iterdir()), strict=True):
        model = AutoModelForCausalLM.from_pretrained(stage, dtype=torch.bfloat16)
        size = "4KB" if folder.name == "a" else "8KB"  # not the same shards
        model.save_pretrained(folder, max_shard_size=size)
    to = merge(run, tmp_path / "to", stages=[str(folder) for folder in folders], weight=0.25)
    shards = sorted(path.name for path in to.glob("*.safetensors"))
    assert shards == sorted(path.name for path in folders[0].glob("*.safetensors"))
    assert len(shards) > 1
    model = AutoModelForCausalLM.from_pretrained(to, dtype="auto")
    assert model.dtype == torch.bfloat16
    first, second = (AutoModelForCausalLM.from_pretrained(f, dtype="auto") for f in folders)
    for merged, a, b in zip(
        model.parameters(), first.parameters(), second.parameters(), strict=True
    ):
        assert torch.equal(merged, (0.75 * a.float() + 0.25 * b.float()).bfloat16())


def altered(run: Path, folder: Path, change: Any) -> Path:
    """The first stage's model with a change to its tensors."""
    folder.mkdir()
    tensors = weights(run, 1)
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_models_that_differ_in_their_tensors_are_refused(run: Path, tmp_path: Path) -> None:
    more = altered(run, tmp_path / "more", lambda t: t.update(extra=torch.zeros(1)))
    with expect_error("--stages", "extra"):
        merge(run, tmp_path / "to", stages=["specialise", str(more)])
    name = "model.norm.weight"
    wide = altered(run, tmp_path / "wide", lambda t: t.update({name: torch.zeros(3)}))
    with expect_error("--stages", name, (16,), (3,)):
        merge(run, tmp_path / "to", stages=["specialise", str(wide)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["more", "wide"]


def test_an_adapter_is_refused_with_what_to_do(run: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with expect_error("--stages", tmp_path / "adapter", "axolotl merge-lora"):
        merge(run, tmp_path / "to", stages=["specialise", str(tmp_path / "adapter")])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stages": ["specialise"]}, ("--stages", 1)),
        ({"stages": ["specialise", "other"]}, ("--stages", "other", "specialise, generalise")),
        ({"weight": 1.5}, ("--weight", 1.5)),
        ({"weight": float("nan")}, ("--weight", "nan")),
    ],
)
def test_mistakes_are_refused_in_one_line(
    run: Path, tmp_path: Path, changes: dict[str, Any], expected: tuple[str, ...]
) -> None:
    with expect_error(*expected):
        merge(run, tmp_path / "to", **changes)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    with expect_error("--to", tmp_path / "to"):
        merge(run, tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []


def test_a_broken_model_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    with expect_error("--stages", tmp_path / "broken"):
        merge(run, tmp_path / "to", stages=["specialise", str(tmp_path / "broken")])
