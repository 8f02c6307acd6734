"""Whether held-out rows and test datasets are packed for evaluation.

The trainer evaluates only whole batches of packs, so some rows would have no loss, and few rows
none at all. Without packing, every row is evaluated.
"""

from __future__ import annotations

from typing import Any

from axolotl_dmt.training.pool import RowPool
from axolotl_dmt.training.tokenised_rows import token_counts


def choose_eval_packing(cfg: Any, pool: RowPool, raw: Any) -> None:
    """Pack the rows to evaluate only if the YAML asks for it and there are enough of them.

    Args:
        cfg: Axolotl's validated configuration; changed in place.
        pool: the rows, with those to evaluate.
        raw: the YAML. Axolotl's validation turns evaluation packing on beside `sample_packing`.
    """
    if not cfg.sample_packing or not pool.held_out:
        return
    if not raw.get("eval_sample_packing") or _too_few(cfg, pool):
        cfg.eval_sample_packing = False
        if cfg.dataloader_drop_last is None:
            # Axolotl would drop the last batch, which is the only one of few rows.
            cfg.dataloader_drop_last = False
        if cfg.remove_unused_columns is None:
            # As Axolotl's validation does; otherwise its trainer fails at the second evaluation.
            cfg.remove_unused_columns = False


def eval_packing_note(cfg: Any, pool: RowPool, raw: Any) -> str | None:
    """Return a sentence if the YAML asks to pack rows that may not fill a batch, else None.

    Args:
        cfg: Axolotl's validated configuration.
        pool: the rows, with those to evaluate.
        raw: the YAML.
    """
    few = _too_few(cfg, pool) if cfg.sample_packing and raw.get("eval_sample_packing") else []
    if not few:
        return None
    names = ["test_datasets" if name.startswith("test") else name for name in few]
    return (
        "eval_sample_packing: true is not used: the rows to evaluate of "
        f"{', '.join(names)} may not fill one batch of packs; set eval_sample_packing: false"
    )


def _too_few(cfg: Any, pool: RowPool) -> list[str]:
    """Return whose rows may not fill one batch; packs are at least half full on average."""
    length = cfg.eval_sequence_len or cfg.sequence_len
    batch = length * (cfg.eval_batch_size or cfg.micro_batch_size) * (cfg.world_size or 1)
    return [name for name, rows in pool.held_out.items() if token_counts(rows).sum() < 2 * batch]
