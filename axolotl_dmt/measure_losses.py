"""`axolotl dmt row-losses`: how well a stage's model knows each row that it may replay."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.args import DEFAULT_K, DMTConfig, read_config
from axolotl_dmt.errors import DMTError
from axolotl_dmt.row_losses import Losses, RowLosses
from axolotl_dmt.yaml_file import YamlFile

DEFAULT_FILE = "row_losses.parquet"


def write_row_losses(
    config: Path,
    model_folder: Path,
    *,
    domains: Sequence[str] = (),
    output: Path | None = None,
    batch_tokens: int,
) -> Path:
    """Measure the loss of each row and write the file.

    Args:
        config: path of the YAML.
        model_folder: a stage's folder, a whole model or an adapter.
        domains: whose rows; none: every domain that is not general.
        output: where to write. None: where `dmt.replay.losses` says, else into the `dmt` folder of
            the YAML's `output_dir`.
        batch_tokens: padded tokens that the model sees at a time.

    Returns:
        The file.

    Raises:
        DMTError: a mistake in the YAML or in an argument.
    """
    from axolotl_dmt.plan_command import load_run, quiet_logs

    raw = YamlFile.read(config).data
    checked = read_config(raw.get("dmt"))
    path = output or _default_path(raw, checked)
    if path.exists():
        raise DMTError("--output", f"{path} exists", "name another file, or move it away")
    if not any((model_folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        fix = "name a stage's folder, such as OUTPUT_DIR/stages/01-specialise"
        raise DMTError("--model", f"{model_folder} holds no model", fix)
    # the file that replay names may well be the one to write, and k changes no row
    block = {**raw["dmt"], "replay": None, "k": DEFAULT_K}
    with quiet_logs():
        cfg, run = load_run(str(config), dmt=block)
        chosen = _chosen(domains, run.dataset_domains, checked.general_domains)
        pool = run.load_pool(cfg)
        model = load_model(model_folder, trust_remote_code=bool(cfg.trust_remote_code))
    from axolotl_dmt.tokenised_rows import content_digest

    wanted = [domain for domain in pool.domains if domain.name in chosen]
    losses, digests = {}, {}
    with _progress(sum(domain.rows for domain in wanted)) as advance:
        for domain in wanted:
            rows = pool.rows_of(domain.name)
            digests[domain.name] = content_digest(rows)
            losses[domain.name] = row_losses(model, rows, batch_tokens, advance)
    RowLosses(model=str(model_folder), losses=losses, digests=digests).save(path, wanted)
    return path


def _default_path(raw: Mapping[str, Any], config: DMTConfig) -> Path:
    if config.replay is not None and config.replay.losses is not None:
        return Path(config.replay.losses)
    return Path(str(raw.get("output_dir") or "model-out")) / "dmt" / DEFAULT_FILE


def _chosen(asked: Sequence[str], known: Iterable[str], general: Sequence[str]) -> list[str]:
    known = dict.fromkeys(known)
    for name in asked:
        if name not in known:
            fix = f"known domains: {', '.join(known)}"
            raise DMTError("--domains", f"no dataset has the domain {name!r}", fix)
    chosen = [*asked] or [name for name in known if name not in general]
    if not chosen:
        raise DMTError("--domains", "every domain is general", "name the domains to measure")
    return chosen


def load_model(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Load a stage for scoring: on the GPUs in bfloat16 where there are any, else in float32.

    Args:
        folder: a whole model or an adapter.
        trust_remote_code: as Axolotl's key.
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
    """The mean loss of each row over its trained tokens.

    Args:
        model: a causal language model.
        rows: a data set with `input_ids` and `labels` (-100 is not trained).
        batch_tokens: padded tokens at a time; a longer row is a batch of its own.
        advance: told of the number of rows done, batch after batch.

    Returns:
        In nats, NaN where a row has no trained token. A row's first token has no loss.

    Raises:
        DMTError: the rows hold tokens that the model does not know.
    """
    import torch

    from axolotl_dmt.tokenised_rows import token_counts

    lengths = token_counts(rows)
    losses = np.full(len(rows), np.nan, np.float32)
    size = model.get_input_embeddings().weight.shape[0]
    for batch in _batches(lengths, batch_tokens):
        chosen = rows.select(batch)
        ids, labels = (_padded(chosen[name], value) for name, value in _COLUMNS.items())
        if ids.max() >= size:
            problem = f"knows {size:,} tokens and the rows hold number {ids.max():,}"
            raise DMTError("--model", problem, "name a model that this YAML trained")
        mask = np.arange(ids.shape[1]) < lengths[batch][:, None]
        with torch.inference_mode():
            losses[batch] = _batch_losses(model, ids, labels, mask)
        advance(len(batch))
    return losses


_COLUMNS = {"input_ids": 0, "labels": -100}
"""Columns of a row, and what fills them up to the longest row of a batch."""


def _batches(lengths: NDArray[np.int32], batch_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Row numbers of each batch, longest rows first: what does not fit into memory fails early."""
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, batch_tokens // max(1, int(lengths[order[start]])))
        yield order[start:stop]
        start = stop


def _padded(rows: Sequence[Sequence[int]], value: int) -> NDArray[np.int64]:
    padded = np.full((len(rows), max(map(len, rows))), value, np.int64)
    for line, row in zip(padded, rows, strict=True):
        line[: len(row)] = row
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
    # only the trained positions become 32-bit numbers: a vocabulary is large
    each = torch.nn.functional.cross_entropy(
        logits[:, :-1][trained].float(), targets[trained], reduction="none"
    )
    sums = torch.zeros(targets.shape, dtype=torch.float64, device=logits.device)
    sums[trained] = each.double()
    means: NDArray[np.float32] = (sums.sum(1) / trained.sum(1)).float().cpu().numpy()
    return means


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal; yields what moves it on."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("rows", total=total)
        yield lambda count: progress.advance(task, count)
