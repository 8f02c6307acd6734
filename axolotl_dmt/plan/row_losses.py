"""The file of row losses: the loss of a model on each row, by which `dmt.replay` selects rows.

It is a Parquet file with the columns `domain`, `dataset` (label), `row` (from 0, within the
dataset), `trained_tokens` and `loss` (mean over the row's trained tokens, in nats; null where it
has none). Its metadata names the model that computed the losses and holds a digest of the tokens
and labels of each domain, so that losses are never used for other rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import parse_json, replacing
from axolotl_dmt.plan.inputs import Domain

SCHEMA: Final = 1
KEY: Final = "dmt.replay.losses"
COMMAND: Final = "axolotl dmt row-losses CONFIG --model STAGE_FOLDER"
_METADATA: Final = b"axolotl_dmt"

Losses = NDArray[np.float32]
"""Mean loss of each row of a pool, shape (rows,), NaN where no token is trained."""


@dataclass(frozen=True, kw_only=True)
class RowLosses:
    """The losses of all rows of one or more domains.

    Attributes:
        model: the path of the model that computed them.
        losses: {domain: losses of its rows, in pool order}.
        digests: {domain: digest of its rows' tokens and labels}.
    """

    model: str
    losses: Mapping[str, Losses]
    digests: Mapping[str, str]

    @property
    def digest(self) -> str:
        """A hex digest of everything that a selection of rows can depend on."""
        whole = blake2b(json.dumps(dict(self.digests), sort_keys=True).encode(), digest_size=16)
        for name in sorted(self.losses):
            whole.update(self.losses[name].astype("<f4").tobytes())
        return whole.hexdigest()

    def of(self, domain: str, rows: int, digest: str, path: Path) -> Losses:
        """Return the losses of a domain.

        Args:
            domain: name of the domain.
            rows: number of rows in its pool.
            digest: digest of the tokens and labels in its pool.
            path: the file that these losses were read from, for the error.

        Raises:
            DMTError: the file holds no losses of the domain, or holds those of other rows.
        """
        if domain not in self.losses:
            raise no_losses(domain, path)
        losses = self.losses[domain]
        if self.digests[domain] != digest:
            difference = "other tokens or labels"
            if len(losses) != rows:
                difference = f"{len(losses):,} in the file, {rows:,} in the data"
            raise DMTError(
                KEY,
                f"{path} was made from other rows of {domain} ({difference})",
                f"write it again from this YAML's data: {COMMAND}",
            )
        return losses

    def save(self, path: Path, domains: Sequence[Domain]) -> None:
        """Write the file completely or not at all.

        Args:
            path: the file; its folder is created.
            domains: the domains that have losses, in pool order.
        """
        import pyarrow as pa
        from pyarrow import parquet

        text = pa.dictionary(pa.int32(), pa.string())
        parts = []
        for domain in domains:
            sizes = [rows for _, rows in domain.datasets]
            labels = [label for label, _ in domain.datasets]
            within = np.concatenate([np.arange(size) for size in sizes])
            losses = self.losses[domain.name]
            columns = {
                "domain": pa.array([domain.name] * domain.rows).cast(text),
                "dataset": pa.DictionaryArray.from_arrays(
                    pa.array(np.repeat(np.arange(len(sizes)), sizes), pa.int32()), labels
                ),
                "row": pa.array(within if domain.numbers is None else domain.numbers, pa.int64()),
                "trained_tokens": pa.array(domain.trained, pa.int32()),
                "loss": pa.array(losses, pa.float32(), mask=np.isnan(losses)),
            }
            parts.append(pa.table(columns))
        header = {
            "schema": SCHEMA,
            "model": self.model,
            "domains": [
                {"name": d.name, "rows": d.rows, "digest": self.digests[d.name]} for d in domains
            ],
        }
        table = pa.concat_tables(parts).unify_dictionaries()
        table = table.replace_schema_metadata({_METADATA: json.dumps(header)})
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            parquet.write_table(table, temporary)

    @classmethod
    def load(cls, path: Path) -> RowLosses:
        """Read a file that `save` wrote.

        Raises:
            DMTError: there is no such file, it is another kind of file, or it is damaged.
        """
        header = read_header(path)
        from pyarrow import parquet

        column = parquet.read_table(path, columns=["loss"])["loss"].to_numpy()
        sizes = [entry["rows"] for entry in header["domains"]]
        if len(column) != sum(sizes):
            raise DMTError(KEY, f"{path} is damaged", f"write it again: {COMMAND}")
        parts = np.split(column.astype(np.float32), np.cumsum(sizes)[:-1])
        names = [entry["name"] for entry in header["domains"]]
        return cls(
            model=header["model"],
            losses=dict(zip(names, parts, strict=True)),
            digests={entry["name"]: entry["digest"] for entry in header["domains"]},
        )


def no_losses(domain: str, path: Path) -> DMTError:
    """Return the error for a file that holds no losses of a domain."""
    return DMTError(
        KEY, f"{path} holds no losses of {domain}", f"write it again: {COMMAND} --domains {domain}"
    )


def read_header(path: Path) -> dict[str, Any]:
    """Read the metadata of a file of row losses, without the losses.

    Returns:
        {"schema", "model", "domains": [{"name", "rows", "digest"}]}.

    Raises:
        DMTError: there is no such file, or it is another kind of file.
    """
    from pyarrow import parquet

    if not path.is_file():
        raise DMTError(KEY, f"no file {path}", f"write it first: {COMMAND}")
    try:
        metadata = parquet.read_schema(path).metadata or {}
        header: dict[str, Any] = parse_json(metadata[_METADATA])
        if header["schema"] == SCHEMA:
            return header
    except (OSError, ValueError, KeyError):
        pass
    raise DMTError(KEY, f"{path} is not a file of row losses", f"write one: {COMMAND}")
