"""The file of row losses: how well a model knows each row, for `dmt.replay`.

A Parquet file with the columns `domain`, `dataset` (label), `row` (from 0, within the dataset),
`trained_tokens` and `loss` (mean over the row's trained tokens, in nats; null where it has none).
Its metadata says which model gave the losses and holds a digest of every domain's tokens and
labels, so that losses are never laid beside rows that they are not of.
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
from axolotl_dmt.files import replacing
from axolotl_dmt.inputs import Domain

SCHEMA: Final = 1
KEY: Final = "dmt.replay.losses"
COMMAND: Final = "axolotl dmt row-losses CONFIG --model STAGE_FOLDER"
_METADATA: Final = b"axolotl_dmt"

Losses = NDArray[np.float32]
"""Mean loss of each row of a pool, shape (rows,), NaN where no token is trained."""


@dataclass(frozen=True, kw_only=True)
class RowLosses:
    """Losses of the rows of some domains.

    Attributes:
        model: where the model lay that gave them.
        losses: by domain, in pool order.
        digests: of the domains' tokens and labels.
    """

    model: str
    losses: Mapping[str, Losses]
    digests: Mapping[str, str]

    @property
    def digest(self) -> str:
        """A hex digest of everything that a selection can depend on."""
        whole = blake2b(json.dumps(dict(self.digests), sort_keys=True).encode(), digest_size=16)
        for name in sorted(self.losses):
            whole.update(self.losses[name].astype("<f4").tobytes())
        return whole.hexdigest()

    def of(self, domain: str, rows: int, digest: str, path: Path) -> Losses:
        """The losses of a domain.

        Args:
            domain: its name.
            rows: of its pool.
            digest: of the pool's tokens and labels.
            path: where these losses were read, for the error.

        Raises:
            DMTError: there are none of it, or they are of other rows.
        """
        if domain not in self.losses:
            raise lacks(domain, path)
        losses = self.losses[domain]
        if self.digests[domain] != digest:
            other = "other tokens or labels"
            if len(losses) != rows:
                other = f"{len(losses):,} there, {rows:,} here"
            raise DMTError(
                KEY,
                f"{path} is of other rows of {domain} ({other})",
                f"write it anew from this YAML's data: {COMMAND}",
            )
        return losses

    def save(self, path: Path, domains: Sequence[Domain]) -> None:
        """Write the file, whole or not at all.

        Args:
            path: of the file; its folder is made.
            domains: those that the losses are of, in pool order.
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
        known = {
            "schema": SCHEMA,
            "model": self.model,
            "domains": [
                {"name": d.name, "rows": d.rows, "digest": self.digests[d.name]} for d in domains
            ],
        }
        table = pa.concat_tables(parts).unify_dictionaries()
        table = table.replace_schema_metadata({_METADATA: json.dumps(known)})
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            parquet.write_table(table, temporary)

    @classmethod
    def load(cls, path: Path) -> RowLosses:
        """Read a file that `save` wrote.

        Raises:
            DMTError: there is none, or it is another kind of file.
        """
        known = read_header(path)
        from pyarrow import parquet

        column = parquet.read_table(path, columns=["loss"])["loss"].to_numpy()
        sizes = [entry["rows"] for entry in known["domains"]]
        if len(column) != sum(sizes):
            raise DMTError(KEY, f"{path} is damaged", f"write it anew: {COMMAND}")
        parts = np.split(column.astype(np.float32), np.cumsum(sizes)[:-1])
        names = [entry["name"] for entry in known["domains"]]
        return cls(
            model=known["model"],
            losses=dict(zip(names, parts, strict=True)),
            digests={entry["name"]: entry["digest"] for entry in known["domains"]},
        )


def lacks(domain: str, path: Path) -> DMTError:
    """The error where a file holds no losses of a domain."""
    return DMTError(
        KEY, f"{path} holds no losses of {domain}", f"write it anew: {COMMAND} --domains {domain}"
    )


def read_header(path: Path) -> dict[str, Any]:
    """What a file of row losses says of itself, without the losses.

    Raises:
        DMTError: there is no file, or it is another kind of file.
    """
    from pyarrow import parquet

    if not path.is_file():
        raise DMTError(KEY, f"no file {path}", f"write it first: {COMMAND}")
    try:
        metadata = parquet.read_schema(path).metadata or {}
        known: dict[str, Any] = json.loads(metadata[_METADATA])
        if known["schema"] == SCHEMA:
            return known
    except (OSError, ValueError, KeyError):
        pass
    raise DMTError(KEY, f"{path} is no file of row losses", f"write one: {COMMAND}")
