"""The keys and values of answers that are generated together, where answers come and go.

All rows end at the same column, so each row is padded on the left, as in a static batch, and every
attention implementation accepts the same mask. A new row is copied to the columns before the
current one. A finished row is overwritten by the last one. The columns of wrong guesses are masked.
Columns are written in place: transformers' own cache copies everything at each token.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

SPARE_COLUMNS = 128
"""Columns beyond the longest row; when they are used up, all rows move to the left."""


class RowCache(Cache):
    """A cache with room for a fixed number of rows and columns.

    Attributes:
        lengths: the number of tokens of each row in use.
        firsts: the first column of each row in use.
        end: the column that the next token is written to.
        new: the number of columns that are written at once.
        mask: 1 where a row has a token, of shape [room for rows, columns].
    """

    def __init__(self, like: DynamicCache, rows: int, longest: int, first_column: int) -> None:
        """Allocate the cache.

        Args:
            like: the cache of some prompts, whose layers show the shapes.
            rows: room for rows.
            longest: the most tokens that a row can reach.
            first_column: the longest prompt that will be added.
        """
        self.lengths: list[int] = []
        self.firsts: list[int] = []
        self.end = self._first_column = first_column
        self.new = 1
        self.columns = longest + SPARE_COLUMNS
        layers: list[Any] = [_Layer(self, layer, rows) for layer in like.layers]
        super().__init__(layers=layers)
        device = like.layers[0].keys.device
        self.mask = torch.zeros(rows, self.columns, dtype=torch.long, device=device)

    @property
    def rows(self) -> int:
        """The number of rows in use."""
        return len(self.lengths)

    @property
    def start(self) -> int:
        """The first column in which a row has a token."""
        return min(self.firsts)

    def begin_tokens(self, counts: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Make room for the next tokens; return the attention mask and the tokens' positions.

        Args:
            counts: the number of tokens of each row. All rows get as many columns as the longest.
        """
        columns = max(counts)
        if self.end + columns > self.columns:
            self._move_left()
        self._mask_new(columns, counts)
        self.new = columns
        mask = self.mask[: self.rows, self.start : self.end + columns]
        lengths = torch.tensor(self.lengths, device=mask.device).unsqueeze(1)
        return mask, lengths + torch.arange(columns, device=mask.device)

    def end_tokens(self, counts: Sequence[int]) -> None:
        """Keep the first of the tokens that the model has written to each row.

        Args:
            counts: the number of tokens to keep in each row.
        """
        if self.new > 1:
            self._mask_new(self.new, counts)
        self.lengths = [a + b for a, b in zip(self.lengths, counts, strict=True)]
        self.end += self.new

    def _mask_new(self, columns: int, counts: Sequence[int]) -> None:
        kept = torch.tensor(counts, device=self.mask.device).unsqueeze(1)
        numbers = torch.arange(columns, device=self.mask.device)
        self.mask[: self.rows, self.end : self.end + columns] = (numbers < kept).long()

    def add(self, prompts: DynamicCache, row: int, spans: Sequence[tuple[int, int]]) -> None:
        """Add a row with the columns `spans` of one row of a cache of prompts."""
        length = sum(stop - start for start, stop in spans)
        target, at = self.rows, self.end - length
        self.mask[target] = 0
        self.mask[target, at : self.end] = 1
        for start, stop in spans:
            for layer, source in zip(self.layers, prompts.layers, strict=True):
                layer.keys[target, :, at : at + stop - start] = source.keys[row, :, start:stop]
                layer.values[target, :, at : at + stop - start] = source.values[row, :, start:stop]
            at += stop - start
        self.lengths.append(length)
        self.firsts.append(self.end - length)

    def remove(self, row: int) -> None:
        """Remove a row; the last row takes its place."""
        last, columns = self.rows - 1, slice(self.start, self.end)
        if row != last:
            self.mask[row] = self.mask[last]
            for layer in self.layers:
                layer.keys[row, :, columns] = layer.keys[last, :, columns]
                layer.values[row, :, columns] = layer.values[last, :, columns]
        for numbers in (self.lengths, self.firsts):
            numbers[row] = numbers[last]
            numbers.pop()

    def _move_left(self) -> None:
        """Move all rows to the left, without masked columns, so that there is room at the end."""
        end = max(self._first_column, *self.lengths)
        kept = [row.nonzero().squeeze(1) for row in self.mask[: self.rows, : self.end]]
        self.firsts = [end - length for length in self.lengths]
        self.mask.zero_()
        for row, (columns, first) in enumerate(zip(kept, self.firsts, strict=True)):
            self.mask[row, first:end] = 1
            for layer in self.layers:
                for states in (layer.keys, layer.values):
                    states[row, :, first:end] = states[row].index_select(1, columns)
        self.end = end


class _Layer(CacheLayerMixin):
    """One layer of a RowCache: `keys` and `values` hold all rows and columns."""

    is_sliding = False

    def __init__(self, cache: RowCache, like: Any, rows: int) -> None:
        super().__init__()
        self._cache = cache
        # Zeros: what is masked has no weight, but no weight times NaN is NaN.
        self.keys, self.values = (
            states.new_zeros(rows, states.shape[1], cache.columns, states.shape[3])
            for states in (like.keys, like.values)
        )
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: the layer is allocated from the start."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the next tokens of each row; return all columns in use, with theirs."""
        cache = self._cache
        rows, start, old, end = cache.rows, cache.start, cache.end, cache.end + cache.new
        self.keys[:rows, :, old:end] = key_states
        self.values[:rows, :, old:end] = value_states
        return self.keys[:rows, :, start:end], self.values[:rows, :, start:end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of columns in use with the next tokens, and 0."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Return the number of columns in use."""
        return self._cache.end - self._cache.start

    def get_max_length(self) -> int:
        """Return -1: rows may become as long as the cache was allocated for."""
        return -1


def bytes_per_token(cache: DynamicCache) -> int:
    """Return the size of a token's keys and values, from a cache of any tokens."""
    return sum(
        states.shape[1] * states.shape[3] * states.element_size()
        for layer in cache.layers
        for states in (layer.keys, layer.values)
    )


@contextlib.contextmanager
def attention_without_copies() -> Iterator[None]:
    """While the block runs, `sdpa` attends to shared keys and values without copying them.

    transformers repeats the keys and values for each query head that shares them, if there is a
    mask, which costs more than the attention itself. The queries that share a head are passed as
    several queries of that head instead.
    """
    former = ALL_ATTENTION_FUNCTIONS["sdpa"]
    if former is not sdpa_attention_forward:  # another library has its own
        yield
        return
    ALL_ATTENTION_FUNCTIONS["sdpa"] = _grouped_attention
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS["sdpa"]


def _grouped_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    rows, heads, queries, size = query.shape
    group = getattr(module, "num_key_value_groups", 1)
    shared = attention_mask is not None and attention_mask.shape[1] == 1
    if group == 1 or not shared or position_bias is not None or dropout:
        return sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout,
            scaling,
            position_bias=position_bias,
            **kwargs,
        )
    assert attention_mask is not None
    together = group * queries
    mask = attention_mask.unsqueeze(2).expand(-1, -1, group, -1, -1).flatten(2, 3)
    output = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(rows, heads // group, together, size),
        key,
        value,
        attn_mask=mask,
        scale=scaling,
    )
    output = output.reshape(rows, heads, queries, value.shape[3])
    return output.transpose(1, 2).contiguous(), None
