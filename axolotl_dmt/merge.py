"""Merge the models of two stages into one, tensor by tensor: a baseline that trains nothing.

Linear: (1 - w) first + w second (model soups, Wortsman et al., 2022). SLERP: the same two tensors
combined along the arc between them (Shoemake, 1985), each tensor as one vector.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import replacing
from axolotl_dmt.run_folder import RunFolder, load_results

METHODS = ("linear", "slerp")
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", _INDEX)


def merge_stages(
    output_dir: Path, stages: Sequence[str], *, method: str, weight: float, to: Path
) -> None:
    """Write the merge of two stages as a model that transformers loads.

    One shard of the first model is in memory at a time. Tensors are combined in 32-bit floats and
    written in the first model's data type and shards; everything else (configuration, tokenizer)
    is copied from the second.

    Args:
        output_dir: of the run.
        stages: two names of its stages, or folders of models.
        method: "linear" or "slerp".
        weight: of the second model, from 0 to 1.
        to: the folder to make.

    Raises:
        DMTError: a stage or folder that is not there or is no full model, models that differ in
            their tensors, a weight out of range, or `to` exists.
    """
    if len(stages) != 2:
        raise DMTError("--stages", f"names {len(stages)} stages", "name two: specialise,generalise")
    if not 0 <= weight <= 1:
        raise DMTError("--weight", f"{weight:g} is not from 0 to 1", "write for example 0.5")
    if to.exists():
        raise DMTError("--to", f"{to} exists", "name a new folder: nothing is overwritten")
    first, second = (_folder(output_dir, name) for name in stages)
    places, others = _weight_map(first), _weight_map(second)
    if places.keys() != others.keys():
        lone = min(places.keys() ^ others.keys())
        raise DMTError("--stages", f"only one of the models has {lone}", "merge like models")
    to.parent.mkdir(parents=True, exist_ok=True)
    with replacing(to) as partial:
        partial.mkdir()
        for shard in sorted(set(places.values())):
            names = [name for name, place in places.items() if place == shard]
            merged = {}
            with safe_open(first / shard, framework="pt") as source:
                for name in names:
                    with safe_open(second / others[name], framework="pt") as other:
                        pair = source.get_tensor(name), other.get_tensor(name)
                    merged[name] = merge_tensors(name, *pair, method=method, weight=weight)
            save_file(merged, partial / shard, metadata={"format": "pt"})
        _copy_the_rest(first, second, partial)
        record = {"stages": list(stages), "method": method, "weight": weight}
        (partial / "dmt_merge.json").write_text(json.dumps(record, indent=2) + "\n")


def merge_tensors(
    name: str, first: torch.Tensor, second: torch.Tensor, *, method: str, weight: float
) -> torch.Tensor:
    """Combine two tensors of one shape; the result has the first's data type.

    Integers must be equal. SLERP takes the line instead where there is no arc: a tensor of zeros,
    or two that point the same or the opposite way.

    Raises:
        DMTError: shapes differ, or integers do.
    """
    if first.shape != second.shape:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise DMTError("--stages", f"{name} has the shapes {shapes}", "merge like models")
    if not first.is_floating_point():
        if not torch.equal(first, second):
            raise DMTError("--stages", f"{name} holds integers that differ", "merge like models")
        return first
    a, b = first.float(), second.float()
    near, far = 1 - weight, weight
    if method == "slerp":
        length = float(a.norm() * b.norm())
        cosine = torch.tensor(float((a * b).sum()) / length if length else 1.0)
        if abs(cosine) < 1 - 1e-6:
            angle = torch.acos(cosine)
            near = float(torch.sin((1 - weight) * angle) / torch.sin(angle))
            far = float(torch.sin(weight * angle) / torch.sin(angle))
    return (near * a + far * b).to(first.dtype).contiguous()


def _folder(output_dir: Path, name: str) -> Path:
    """The model of a stage, or the folder of that name."""
    stages = load_results(output_dir).stages
    run = RunFolder(output_dir)
    found = [run.stage(i, name) for i, stage in enumerate(stages) if stage.name == name]
    folder = found[0] if found else Path(name)
    if found and not folder.is_dir():
        raise DMTError("OUTPUT_DIR", f"no folder {folder}", "the stage's model is needed")
    if not folder.is_dir():
        known = ", ".join(stage.name for stage in stages)
        raise DMTError("--stages", f"{name} is no stage and no folder", f"known stages: {known}")
    if (folder / "adapter_config.json").is_file():
        raise DMTError(
            "--stages",
            f"{folder} holds an adapter, and a merge of adapters is not that of their models",
            "merge each into its base with `axolotl merge-lora` and name the two folders",
        )
    return folder


def _weight_map(folder: Path) -> Mapping[str, str]:
    """{tensor: file that holds it}."""
    try:
        if (folder / _INDEX).is_file():
            found: Any = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"]
            return dict(found)
        with safe_open(folder / _SINGLE, framework="pt") as weights:
            return dict.fromkeys(weights.keys(), _SINGLE)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        what = f"{folder} holds no readable model.safetensors ({error})"
        raise DMTError("--stages", what, "name a stage that was saved whole") from None


def _copy_the_rest(first: Path, second: Path, to: Path) -> None:
    if (first / _INDEX).is_file():
        shutil.copy2(first / _INDEX, to)
    for path in second.iterdir():
        if path.is_file() and not path.name.endswith(_WEIGHTS):
            shutil.copy2(path, to)
