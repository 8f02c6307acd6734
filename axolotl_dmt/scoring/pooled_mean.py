"""The mean of all values in several groups, and its standard error over the groups.

Values of one group, such as the two turns of a question, are not independent of each other. The
standard error therefore treats the groups as the independent draws, not the single values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Groups = Sequence[Sequence[float]]


def pooled_mean(groups: Groups) -> float:
    """Return the mean of all values; NaN if there are none."""
    count = sum(map(len, groups))
    return sum(map(sum, groups)) / count if count else math.nan


def pooled_stderr(groups: Groups) -> float:
    """Return the standard error of `pooled_mean`; NaN for fewer than two groups with values.

    It is the usual linearised standard error of a ratio of means.
    """
    groups = [group for group in groups if group]
    if len(groups) < 2:
        return math.nan
    mean, n = pooled_mean(groups), len(groups)
    squares = sum((sum(group) - mean * len(group)) ** 2 for group in groups)
    return math.sqrt(squares * n / (n - 1)) / sum(map(len, groups))
