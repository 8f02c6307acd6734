"""`axolotl dmt row-losses`: measure the loss of each row under the model of a stage."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.checks.collated_rows import need_tokens
from axolotl_dmt.config.args import DEFAULT_K, DMTConfig, read_config
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.console import quiet_axolotl
from axolotl_dmt.errors import DMTError, name_advice
from axolotl_dmt.plan.row_losses import Losses, RowLosses
from axolotl_dmt.results.folder import RunFolder


def write_row_losses(
    config: Path,
    model_folder: Path,
    *,
    domains: Sequence[str] = (),
    output: Path | None = None,
    batch_tokens: int,
) -> Path:
    """Measure the loss of each row and write the file of row losses.

    Args:
        config: path of the YAML.
        model_folder: the folder of a stage, with a full model or an adapter.
        domains: the domains to measure, or empty for every domain that is not general.
        output: the file to write. None: the file that `dmt.replay.losses` names, or else
            `row_losses.parquet` in the `dmt` folder of the YAML's `output_dir`.
        batch_tokens: size of a batch in tokens, padding included.

    Returns:
        The file.

    Raises:
        DMTError: a mistake in the YAML or in an argument.
    """
    from axolotl_dmt.training.load_run import load_run

    raw = YamlFile.read(config).data
    dmt_config = read_config(raw.get("dmt"))
    need_tokens(raw, "row-losses")
    path = output or _default_path(raw, dmt_config)
    if path.exists():
        raise DMTError("--output", f"{path} exists", "name another file, or move this one")
    if not any((model_folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        fix = "name a stage's folder, such as OUTPUT_DIR/stages/01-specialise"
        raise DMTError("--model", f"{model_folder} holds no model", fix)
    # The file that replay names may be the one to write, and k does not change the pool.
    block = {**raw["dmt"], "replay": None, "k": str(DEFAULT_K)}
    with quiet_axolotl():
        cfg, run = load_run(str(config), dmt=block)
        chosen = _chosen_domains(domains, run.schedule.domains, dmt_config.general_domains)
        pool = run.load_pool(cfg)
        model = load_model(model_folder, trust_remote_code=bool(cfg.trust_remote_code))
    from axolotl_dmt.training.tokenised_rows import content_digest

    measured = [domain for domain in pool.domains if domain.name in chosen]
    losses, digests = {}, {}
    with _progress(sum(domain.rows for domain in measured)) as advance:
        for domain in measured:
            rows = pool.rows_of(domain.name)
            digests[domain.name] = content_digest(rows)
            losses[domain.name] = row_losses(model, rows, batch_tokens, advance)
    RowLosses(model=str(model_folder), losses=losses, digests=digests).save(path, measured)
    return path


def _default_path(raw: Mapping[str, Any], config: DMTConfig) -> Path:
    if config.replay is not None and config.replay.losses is not None:
        return Path(config.replay.losses)
    return RunFolder.of_config(raw).row_losses


def _chosen_domains(
    requested: Sequence[str], dataset_domains: Iterable[str], general: Sequence[str]
) -> list[str]:
    names = dict.fromkeys(dataset_domains)
    for name in requested:
        if name not in names:
            fix = name_advice(name, names, "domains")
            raise DMTError("--domains", f"no dataset has the domain {name!r}", fix)
    chosen = [*requested] or [name for name in names if name not in general]
    if not chosen:
        raise DMTError("--domains", "every domain is general", "name the domains to measure")
    return chosen


def load_model(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Load the model of a stage in evaluation mode.

    The model is distributed over the GPUs, in bfloat16 if they support it. Without GPUs it is on
    the CPU, in float32.

    Args:
        folder: a full model or an adapter.
        trust_remote_code: Axolotl's key of that name.
    """
    import torch

    if (folder / "adapter_config.json").is_file():
        from peft import AutoPeftModelForCausalLM as Loader
    else:
        from transformers import AutoModelForCausalLM as Loader
    cuda = torch.cuda.is_available()
    model = Loader.from_pretrained(
        folder,
        dtype=torch.bfloat16 if cuda and torch.cuda.is_bf16_supported() else torch.float32,
        device_map="auto" if cuda else None,
        trust_remote_code=trust_remote_code,
    )
    return model.eval()


def row_losses(
    model: Any, rows: Any, batch_tokens: int, advance: Callable[[int], None] = lambda count: None
) -> Losses:
    """Compute the mean loss of each row over its trained tokens.

    Args:
        model: a causal language model.
        rows: a dataset with `input_ids` and `labels` (-100 is not trained).
        batch_tokens: size of a batch in tokens, padding included; a longer row is a batch of its
            own.
        advance: called after each batch with its number of rows.

    Returns:
        Losses in nats, shape (rows,), NaN where a row has no trained token. The first token of a
        row has no loss.

    Raises:
        DMTError: the rows hold tokens that are not in the model's vocabulary.
    """
    import torch

    from axolotl_dmt.training.tokenised_rows import token_counts

    lengths = token_counts(rows)
    losses = np.full(len(rows), np.nan, np.float32)
    size = model.get_input_embeddings().weight.shape[0]
    for batch in _batches(lengths, batch_tokens):
        chosen = rows.select(batch)
        ids, labels = (_padded(chosen[name], value) for name, value in _COLUMNS.items())
        if ids.max() >= size:
            problem = f"has {size:,} tokens, and the rows hold token {ids.max():,}"
            raise DMTError("--model", problem, "name a model that this YAML trained")
        mask = np.arange(ids.shape[1]) < lengths[batch][:, None]
        with torch.inference_mode():
            losses[batch] = _batch_losses(model, ids, labels, mask)
        advance(len(batch))
    return losses


_COLUMNS = {"input_ids": 0, "labels": -100}
"""{column of a row: the value that pads it}."""


def _batches(lengths: NDArray[np.int32], batch_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Yield each batch's row numbers, longest rows first, so that too large a batch fails early."""
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, batch_tokens // max(1, int(lengths[order[start]])))
        yield order[start:stop]
        start = stop


def _padded(rows: Sequence[Sequence[int]], value: int) -> NDArray[np.int64]:
    padded = np.full((len(rows), max(map(len, rows))), value, np.int64)
    for padded_row, row in zip(padded, rows, strict=True):
        padded_row[: len(row)] = row
    return padded


def _batch_losses(
    model: Any, ids: NDArray[np.int64], labels: NDArray[np.int64], mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    import torch

    device = model.device
    logits = model(
        input_ids=torch.from_numpy(ids).to(device),
        attention_mask=torch.from_numpy(mask).long().to(device),
        use_cache=False,
    ).logits
    targets = torch.from_numpy(labels[:, 1:].copy()).to(logits.device)
    trained = targets != -100
    # Only trained positions are converted to 32 bits, because the vocabulary is large.
    each = torch.nn.functional.cross_entropy(
        logits[:, :-1][trained].float(), targets[trained], reduction="none"
    )
    sums = torch.zeros(targets.shape, dtype=torch.float64, device=logits.device)
    sums[trained] = each.double()
    means: NDArray[np.float32] = (sums.sum(1) / trained.sum(1)).float().cpu().numpy()
    return means


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar while the block runs, if standard error is a terminal.

    Yields:
        A function that advances the bar by a number of rows.
    """
    from rich.progress import Progress

    from axolotl_dmt.report.console import Console

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("rows", total=total)
        yield lambda count: progress.advance(task, count)
