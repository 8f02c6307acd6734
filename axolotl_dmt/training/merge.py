"""Merges the models of two stages into one, tensor by tensor: a baseline without training.

Linear: (1 - w) first + w second (model soups, Wortsman et al., 2022). SLERP: the same two tensors
combined along the arc between them (Shoemake, 1985), each tensor as one vector.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import replacing
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.training.weight_files import INDEX, weight_files

DIFFERENT = "name two models of the same architecture"
"""What to do about models that do not fit together."""
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", INDEX)


def merge_stages(
    output_dir: Path, stages: Sequence[str], *, method: str, weight: float, to: Path
) -> None:
    """Write the merge of two stages as a model that transformers loads.

    One shard of the first model is in memory at a time. Tensors are combined as 32-bit floats and
    written in the first model's data type and shards; everything else (configuration, tokenizer)
    is copied from the second model.

    Args:
        output_dir: the run's folder.
        stages: two names of the run's stages, or folders of models.
        method: "linear" or "slerp".
        weight: the weight of the second model, from 0 to 1.
        to: the folder to create.

    Raises:
        DMTError: a stage or folder does not exist or holds no full model, the models have different
            tensors, the weight is out of range, or `to` exists.
    """
    if not 0 <= weight <= 1:
        raise DMTError("--weight", f"{weight:g} is not from 0 to 1", "write for example 0.5")
    if to.exists():
        raise DMTError("--to", f"{to} exists and is not overwritten", "name a new folder")
    first, second = two_models(output_dir, stages)
    first_files, second_files = _weight_map(first), _weight_map(second)
    if first_files.keys() != second_files.keys():
        unmatched = min(first_files.keys() ^ second_files.keys())
        raise DMTError("--stages", f"only one of the models has the tensor {unmatched}", DIFFERENT)
    to.parent.mkdir(parents=True, exist_ok=True)
    with replacing(to) as partial:
        partial.mkdir()
        for shard in sorted(set(first_files.values())):
            names = [name for name, file in first_files.items() if file == shard]
            merged = {}
            with safe_open(first / shard, framework="pt") as source:
                for name in names:
                    with safe_open(second / second_files[name], framework="pt") as other:
                        pair = source.get_tensor(name), other.get_tensor(name)
                    merged[name] = merge_tensors(name, *pair, method=method, weight=weight)
            save_file(merged, partial / shard, metadata={"format": "pt"})
        _copy_other_files(first, second, partial)
        record = {"stages": list(stages), "method": method, "weight": weight}
        (partial / "dmt_merge.json").write_text(json.dumps(record, indent=2) + "\n")


def two_models(output_dir: Path, stages: Sequence[str]) -> tuple[Path, Path]:
    """Return the folders of the models of two stages.

    Args:
        output_dir: the run's folder.
        stages: two names of the run's stages, or folders of models.

    Raises:
        DMTError: there are not two, there is no such stage or folder, or one holds an adapter.
    """
    if len(stages) != 2:
        raise DMTError("--stages", f"names {len(stages)} stages", "name two: specialise,generalise")
    run, results = RunFolder(output_dir), load_results(output_dir)
    models = {stage.name: run.model_of(i, stage) for i, stage in enumerate(results.stages)}
    first, second = (_full_model(models, name) for name in stages)
    return first, second


def _full_model(models: Mapping[str, Path], name: str) -> Path:
    """Return the folder of a stage's model, or the folder of that name.

    Args:
        models: {stage: folder of its model}.
        name: the name of a stage, or a folder.

    Raises:
        DMTError: there is no such stage or folder, or the folder holds an adapter.
    """
    folder = models.get(name, Path(name))
    if name in models and not folder.is_dir():
        raise DMTError("OUTPUT_DIR", f"no folder {folder}", "the stage's model is needed")
    if not folder.is_dir():
        fix = f"the stages are {', '.join(models)}"
        raise DMTError("--stages", f"{name} is neither a stage nor a folder", fix)
    if (folder / "adapter_config.json").is_file():
        raise DMTError(
            "--stages",
            f"{folder} holds an adapter, and merging adapters does not merge their models",
            "merge each into its base with `axolotl merge-lora` and name the two folders",
        )
    return folder


def merge_tensors(
    name: str, first: torch.Tensor, second: torch.Tensor, *, method: str, weight: float
) -> torch.Tensor:
    """Combine two tensors of the same shape; the result has the data type of the first.

    Integer tensors must be equal. SLERP falls back to linear where the arc is undefined: for a
    tensor of zeros, and for two tensors of the same or opposite direction.

    Args:
        name: the tensor's name, for the error.
        first: the tensor of the first model.
        second: the tensor of the second model.
        method: "linear" or "slerp".
        weight: the weight of `second`, from 0 to 1.

    Raises:
        DMTError: the shapes differ, or integer tensors do.
    """
    if first.shape != second.shape:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise DMTError("--stages", f"{name} has the shapes {shapes}", DIFFERENT)
    if not first.is_floating_point():
        if not torch.equal(first, second):
            raise DMTError("--stages", f"the integers of {name} differ", DIFFERENT)
        return first
    a, b = first.float(), second.float()
    first_weight, second_weight = 1 - weight, weight
    if method == "slerp":
        length = float(a.norm() * b.norm())
        cosine = torch.tensor(float((a * b).sum()) / length if length else 1.0)
        if abs(cosine) < 1 - 1e-6:
            angle = torch.acos(cosine)
            first_weight = float(torch.sin((1 - weight) * angle) / torch.sin(angle))
            second_weight = float(torch.sin(weight * angle) / torch.sin(angle))
    return (first_weight * a + second_weight * b).to(first.dtype).contiguous()


def _weight_map(folder: Path) -> Mapping[str, str]:
    """Return {tensor: name of the file that holds it}.

    Raises:
        DMTError: the folder holds no readable safetensors.
    """
    fix = "name a stage whose model is complete"
    try:
        files = weight_files(folder)
    except (OSError, ValueError) as error:
        problem = f"{folder} holds no readable model.safetensors ({error})"
        raise DMTError("--stages", problem, fix) from None
    if not files:
        raise DMTError("--stages", f"{folder} holds no model.safetensors", fix)
    return files


def _copy_other_files(first: Path, second: Path, to: Path) -> None:
    """Copy the first model's index of tensors, and all of the second's files except weights."""
    if (first / INDEX).is_file():
        shutil.copy2(first / INDEX, to)
    for path in second.iterdir():
        if path.is_file() and not path.name.endswith(_WEIGHTS):
            shutil.copy2(path, to)
