"""Searches the prepared rows of a run for its evaluation items.

Tokenised rows are decoded, so that the text searched is the text trained on, whatever the dataset's
type. What a search finds is kept beside the prepared rows, under a digest of the rows, the items
and the rule, so that another start of the same run, or of one with another schedule, reads it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from axolotl.loaders import load_tokenizer
from filelock import FileLock

from axolotl_dmt.checks.contamination import ContaminationSearch
from axolotl_dmt.checks.ngrams import Matches
from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import replacing
from axolotl_dmt.plan.inputs import Domain
from axolotl_dmt.training.log import LOG
from axolotl_dmt.training.pool_part import Part, Parts
from axolotl_dmt.training.prepared_data import prepared_root
from axolotl_dmt.training.row_digests import content_digest
from axolotl_dmt.training.row_texts import texts_of
from axolotl_dmt.training.tokenised_rows import is_tokenised

FOLDER = "dmt_contamination"
"""The folder beside the prepared rows that holds what was found in them."""


class PoolSearch:
    """The search for evaluation items in the rows of a run.

    Attributes:
        search: what is searched for, and, after `finish`, what was found.
    """

    def __init__(self, search: ContaminationSearch, cfg: Any, *, leaves_out: bool) -> None:
        """Prepare a search.

        Args:
            search: what to search for.
            cfg: Axolotl's validated configuration.
            leaves_out: whether rows that share text with an item of a local file are left out. What
                the cache holds of public benchmarks must not change the plan.
        """
        self.search = search
        self._leaves_out = leaves_out
        self._tokenizer = load_tokenizer(cfg)
        self._folder = prepared_root(cfg) / FOLDER
        self._found: dict[str, list[Matches]] = {}

    @classmethod
    def of(
        cls, evaluate: EvaluateConfig | None, cfg: Any, *, leaves_out: bool
    ) -> PoolSearch | None:
        """Return the search for the items of a block; None where none are on this machine.

        Args:
            evaluate: the `dmt.evaluate` block.
            cfg: Axolotl's validated configuration.
            leaves_out: whether rows that share text with an item of a file are left out.

        Raises:
            DMTError: a row of a file cannot be scored, or rows are to be left out and no file is
                local.
        """
        search = ContaminationSearch.of(evaluate)
        if leaves_out and not (search and search.has_files):
            problem = "none of the tasks reads a local file to compare the rows with"
            raise DMTError("dmt.decontaminate", problem, "name the files under dmt.evaluate.data")
        return None if search is None else cls(search, cfg, leaves_out=leaves_out)

    def __call__(self, parts: Parts) -> Parts:
        """Search the datasets of each domain, and leave rows out where that is wanted.

        Raises:
            DMTError: a domain would have no row left.
        """
        remaining: Parts = {}
        for domain, datasets in parts.items():
            found = [self._matches(part) for part in datasets]
            leaves_out = [self.search.of_files(m) & self._leaves_out for m in found]
            self._found[domain] = [
                _numbered(part, m[~out])
                for part, m, out in zip(datasets, found, leaves_out, strict=True)
            ]
            remaining[domain] = [
                self._without(domain, part, m[out])
                for part, m, out in zip(datasets, found, leaves_out, strict=True)
            ]
            if self._leaves_out and not any(len(part.rows) for part in remaining[domain]):
                problem = f"every row of {domain} shares text with an item of an evaluation file"
                fix = "train on other data, or remove the key"
                raise DMTError("dmt.decontaminate", problem, fix)
        return remaining

    def finish(self, domains: Sequence[Domain]) -> None:
        """Take note of what was found in the rows that were not held out.

        Args:
            domains: the domains of the pool.
        """
        for domain in domains:
            start = 0
            for (label, rows), matches in zip(
                domain.datasets, self._found.get(domain.name, ()), strict=False
            ):
                stop = start + rows
                if domain.numbers is None:
                    is_trained = matches[:, 0] < rows
                else:
                    is_trained = np.isin(matches[:, 0], domain.numbers[start:stop])
                self.search.add(domain.name, label, matches[is_trained])
                start = stop

    def _without(self, domain: str, part: Part, matches: Matches) -> Part:
        self.search.add(domain, part.label, _numbered(part, matches), left_out=True)
        shares_text = np.zeros(len(part.rows), bool)
        shares_text[matches[:, 0]] = True
        return part.without(shares_text, "contaminated")

    def _matches(self, part: Part) -> Matches:
        """Return the matches in the rows of a part, from an earlier search where there is one."""
        tokenizer = _tokenizer_digest(self._tokenizer) if is_tokenised(part.rows) else ""
        key = json.dumps([self.search.digest, content_digest(part.rows), tokenizer])
        name = blake2b(key.encode(), digest_size=16).hexdigest()
        path = self._folder / f"{name}.npy"
        with _locked(self._folder):  # of several processes one searches
            matches = self._kept(path, len(part.rows))
            if matches is None:
                LOG.info("searching %s for evaluation items", part.label)
                matches = self.search.find(texts_of(part.rows, self._tokenizer))
                _keep(path, matches)
        return matches

    def _kept(self, path: Path, rows: int) -> Matches | None:
        try:
            matches: Matches = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return matches if self.search.fits(matches, rows) else None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created; do without where it cannot be written."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(str(folder / "search.lock")))
        yield


def _keep(path: Path, matches: Matches) -> None:
    with contextlib.suppress(OSError), replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, matches)


def _numbered(part: Part, matches: Matches) -> Matches:
    """Return matches with the rows' numbers within the prepared dataset."""
    if part.numbers is None:
        return matches
    numbered: Matches = matches.copy()
    numbered[:, 0] = part.numbers[matches[:, 0]]
    return numbered


def _tokenizer_digest(tokenizer: Any) -> str:
    """Return a digest of what decides the text of tokens."""
    if getattr(tokenizer, "is_fast", False):
        content = tokenizer.backend_tokenizer.to_str()
    else:
        content = json.dumps(sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1]))
    return blake2b(content.encode("utf-8", "replace"), digest_size=16).hexdigest()
