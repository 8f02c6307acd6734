"""Solve the amounts of a stage for the exact number of rows of each domain.

Amounts that do not depend on the other domains (all, fraction, rows, tokens) are counted first.
Joint shares are divided into shares. The shares follow from the first amounts: with F such rows and
shares that sum to S, the stage has F / (1 - S) rows. If shares or weights make up the whole stage,
it is as large as its scarcest domain allows.

Every count is within one row of the amount, and an amount above zero gives at least one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral

from axolotl_dmt.errors import DMTError
from axolotl_dmt.plan.amounts import UNITS, Amount
from axolotl_dmt.plan.inputs import Domain, Stage
from axolotl_dmt.plan.ranking import Ranking

AmountRows = Callable[[Domain, Fraction], int]
"""A hook's unit: takes a domain and the number in the YAML, returns the rows of one epoch."""

FIXED = ("all", "fraction", "rows", "tokens")
"""Units of amounts that do not depend on the other domains."""

_ITERATIONS = 10_000


def largest_remainder(quotas: Sequence[Fraction]) -> list[int]:
    """Round quotas to whole numbers whose sum is the rounded sum of the quotas.

    The quotas with the largest fractional parts are rounded up, earlier ones first at a tie. A
    quota above zero gets at least 1, even if that makes the sum larger.
    """
    counts = [math.floor(quota) for quota in quotas]
    missing = math.floor(sum(quotas, Fraction()) + Fraction(1, 2)) - sum(counts)
    by_remainder = sorted(range(len(quotas)), key=lambda i: counts[i] - quotas[i])
    for index in by_remainder[:missing]:
        counts[index] += 1
    return [max(count, int(quota > 0)) for count, quota in zip(counts, quotas, strict=True)]


@dataclass
class _Mix:
    """The mix of a stage while it is being solved.

    Attributes:
        stage: the stage.
        key: the YAML key of its mix.
        rankings: the ranking of each domain that the mix uses.
        amounts: the amount of each of these domains. Weights and amounts in a hook's unit are
            replaced as they are solved.
        limit: how often a row may occur in one epoch.
    """

    stage: Stage
    key: str
    rankings: Mapping[str, Ranking]
    amounts: dict[str, Amount]
    limit: int

    def values_in(self, *units: str) -> dict[str, Fraction]:
        """Return the values of the amounts that have one of these units, by domain."""
        return {n: a.value for n, a in self.amounts.items() if a.unit in units}

    def room(self, name: str) -> int:
        """Return the most rows of a domain that one epoch may draw."""
        return self.rankings[name].size * self.limit

    def token_room(self, name: str) -> int:
        """Return the most tokens of a domain that one epoch may draw."""
        return self.rankings[name].tokens(self.room(name))

    def error(self, name: str, problem: str, fix: str) -> DMTError:
        """Return an error in the amount of a domain, or in the whole mix if `name` is empty."""
        return DMTError(f"{self.key}.{name}" if name else self.key, problem, fix)


def solve_counts(
    stage: Stage,
    rankings: Mapping[str, Ranking],
    key: str,
    units: Mapping[str, AmountRows] | None = None,
) -> dict[str, int]:
    """Return the draws of each domain in one epoch of a stage.

    Args:
        stage: the stage; its mix has an amount for each domain of `rankings`.
        rankings: the ranking of each domain with an amount above zero, in pool order.
        key: the YAML key of the stage, such as `dmt.stages[1]`.
        units: further units of amounts, by name.

    Returns:
        Draws by domain, in pool order, each at least 1.

    Raises:
        DMTError: the amounts contradict each other, or need more rows than the domains have.
    """
    amounts = {name: stage.mix[name] for name in rankings}
    mix = _Mix(stage, f"{key}.mix", rankings, amounts, stage.max_repeats or 1)
    for name, amount in amounts.items():
        if amount.unit in ("tokens", "token_share") and rankings[name].domain.lengths is None:
            raise mix.error(
                name, f"{amount} needs the rows' lengths, which are unknown", "count in rows"
            )
    _units_to_rows(mix, units or {})
    _divide_joint_share(mix)
    _weights_to_shares(mix, key)
    counts = {name: _fixed(mix, name) for name in mix.values_in(*FIXED)}
    _check_room(mix, counts, total=None)
    shares, token_shares = mix.values_in("share"), mix.values_in("token_share")
    if token_shares:
        counts |= _with_token_shares(mix, counts, shares, token_shares)
    elif shares:
        counts |= _with_shares(mix, counts, shares)
    return {name: counts[name] for name in rankings}


def _units_to_rows(mix: _Mix, units: Mapping[str, AmountRows]) -> None:
    """Replace amounts in a hook's unit by the rows that the hook returns for them."""
    for name, amount in mix.amounts.items():
        if amount.unit in ("all", *UNITS):
            continue
        if amount.unit not in units:
            raise mix.error(name, f"unknown unit {amount.unit!r}", "name its plugin in dmt.hooks")
        rows = units[amount.unit](mix.rankings[name].domain, amount.value)
        if isinstance(rows, bool) or not isinstance(rows, Integral) or rows < 1:
            problem = f"the unit {amount.unit} returned {rows!r} rows"
            raise mix.error(name, problem, "return a whole number from 1 up")
        mix.amounts[name] = Amount("rows", Fraction(int(rows)))


def _divide_joint_share(mix: _Mix) -> None:
    """Replace a joint share by one share for each of its domains, in proportion to their rows."""
    values = mix.values_in("joint_share")
    if len(set(values.values())) > 1:
        problem = f"the joint shares differ: {', '.join(_number(v) for v in values.values())}"
        raise mix.error("", problem, "give all of them the same value, or write them as shares")
    rows = sum(mix.rankings[name].size for name in values)
    for name, value in values.items():
        mix.amounts[name] = Amount("share", value * mix.rankings[name].size / rows)


def _weights_to_shares(mix: _Mix, key: str) -> None:
    """Replace weights by shares, which divide the part of the stage that other shares leave."""
    weights, shares = mix.values_in("weight"), mix.values_in("share")
    temperature = mix.stage.temperature
    if not weights:
        if temperature != 1:
            raise DMTError(
                f"{key}.temperature",
                "a temperature changes weights, and there are none",
                "write amounts as {weight: w}, or leave temperature out",
            )
        return
    if not (temperature > 0 and math.isfinite(temperature)):
        raise DMTError(f"{key}.temperature", f"{temperature!r} is not above zero", "write e.g. 2.0")
    for name in mix.amounts:
        if name not in weights and name not in shares:
            raise mix.error(
                name,
                f"{mix.amounts[name]} cannot be combined with weights, which divide the stage",
                "write it as a weight or a share, or write the weights as shares",
            )
    remainder = 1 - _sum(shares)
    if remainder <= 0:
        raise mix.error("", "the shares leave nothing to divide by weights", "lower the shares")
    if temperature != 1:
        top = max(weights.values())
        weights = {n: Fraction(float(w / top) ** (1 / temperature)) for n, w in weights.items()}
        if lost := next((name for name, weight in weights.items() if not weight), None):
            problem = f"{temperature!r} leaves nothing of {lost}"
            raise DMTError(f"{key}.temperature", problem, "raise it, or leave the domain out")
    total = sum(weights.values())
    mix.amounts.update({n: Amount("share", remainder * w / total) for n, w in weights.items()})


def _fixed(mix: _Mix, name: str) -> int:
    """Return the draws of an amount that does not depend on the other domains."""
    amount, ranking = mix.amounts[name], mix.rankings[name]
    if amount.unit == "all":
        return ranking.size
    if amount.unit == "rows":
        return int(amount.value)
    if amount.unit == "fraction":
        return max(1, math.floor(amount.value * ranking.size + Fraction(1, 2)))
    room = mix.token_room(name)
    if amount.value > room:
        factor = float(amount.value / room) if room else math.inf
        raise mix.error(
            name,
            f"{amount} are {factor:.3g} times as many as the domain has: its {ranking.size:,} rows "
            f"hold {room:,} tokens{_within_repeats(mix)}",
            _fix_for(mix, factor),
        )
    return max(1, ranking.count_for(float(amount.value)))


def _with_shares(
    mix: _Mix, fixed: Mapping[str, int], shares: Mapping[str, Fraction]
) -> dict[str, int]:
    """Return the draws of the domains whose amounts are shares of the rows."""
    share_sum, fixed_rows = _sum(shares), sum(fixed.values())
    _check_sum(mix, share_sum, fixed_rows, "shares")
    if fixed_rows:
        total = fixed_rows / (1 - share_sum)
    else:
        total = min(mix.room(name) / share for name, share in shares.items())
        total = Fraction(math.floor(total))
    rounded = largest_remainder([share * total for share in shares.values()])
    counts = dict(zip(shares, rounded, strict=True))
    _check_room(mix, counts, total)
    return counts


def _with_token_shares(
    mix: _Mix,
    fixed: Mapping[str, int],
    shares: Mapping[str, Fraction],
    token_shares: Mapping[str, Fraction],
) -> dict[str, int]:
    """Return the draws of a mix with shares of the tokens, and possibly shares of the rows.

    The rows and the tokens of the stage depend on each other. The iteration that computes one from
    the other converges if there is a solution, and grows past every bound if there is none.
    """
    for name, ranking in mix.rankings.items():
        if ranking.domain.lengths is None:
            problem = "a token share needs the lengths of all rows, and these are unknown"
            raise mix.error(name, problem, "count in rows")
    rows = sum(fixed.values())
    tokens = sum(mix.rankings[name].tokens(count) for name, count in fixed.items())
    share_sum, token_share_sum = _sum(shares), _sum(token_shares)
    _check_sum(mix, token_share_sum, rows or len(shares), "token shares")
    if shares and not rows:
        problem = "shares and token shares alone do not determine how large the stage is"
        raise mix.error("", problem, "give one domain a fixed amount, such as all")
    if shares:
        _check_sum(mix, share_sum, rows, "shares")
    if not rows:
        total = min(mix.token_room(n) / float(u) for n, u in token_shares.items())
    else:
        total = tokens / float(1 - token_share_sum)
    bound = 1000 * sum(map(mix.token_room, mix.rankings))
    for _ in range(_ITERATIONS):
        budgets = {n: float(u) * total for n, u in token_shares.items()}
        by_tokens = {n: max(1, mix.rankings[n].count_for(b)) for n, b in budgets.items()}
        total_rows = (rows + sum(by_tokens.values())) / (1 - share_sum)
        rounded = largest_remainder([share * total_rows for share in shares.values()])
        by_rows = dict(zip(shares, rounded, strict=True))
        by_rows_tokens = sum(mix.rankings[n].tokens(c) for n, c in by_rows.items())
        grown = total
        if by_rows_tokens:
            grown = (tokens + by_rows_tokens) / float(1 - token_share_sum)
        if grown <= total:
            _check_token_room(mix, budgets, total)
            _check_room(mix, by_rows, Fraction(total_rows))
            return by_tokens | by_rows
        if grown > bound:
            break
        total = grown
    raise mix.error(
        "",
        "the shares and the token shares together leave no room for the fixed amounts",
        "lower some of them",
    )


def _check_sum(mix: _Mix, share_sum: Fraction, fixed: int, kind: str) -> None:
    """Check that shares sum to less than 1 beside other amounts, and to 1 without them.

    Args:
        mix: the mix.
        share_sum: the sum of the shares.
        fixed: rows of the other amounts.
        kind: "shares" or "token shares".
    """
    if share_sum > 1:
        raise mix.error("", f"the {kind} sum to {_number(share_sum)}", "let them sum to 1 or less")
    if share_sum == 1 and fixed:
        others = [n for n, a in mix.amounts.items() if a.unit not in ("share", "token_share")]
        beside = ", ".join(others) or "the other shares"
        raise mix.error(
            "", f"the {kind} sum to 1 and leave no room for {beside}", "let them sum to less than 1"
        )
    if share_sum < 1 and not fixed:
        raise mix.error(
            "",
            f"the {kind} sum to {_number(share_sum)} and no other amount makes up the rest",
            "let them sum to 1 (write thirds as 1/3), or give another domain a fixed amount",
        )


def _check_room(mix: _Mix, counts: Mapping[str, int], total: Fraction | None) -> None:
    """Check that no domain draws more rows than it may.

    Args:
        mix: the mix.
        counts: draws by domain.
        total: rows of the stage if shares determine them, for the error.
    """
    excess = {name: Fraction(count, mix.room(name)) for name, count in counts.items()}
    worst = max(excess, key=lambda name: excess[name], default="")
    if not worst or excess[worst] <= 1:
        return
    size, amount = mix.rankings[worst].size, mix.amounts[worst]
    need = "are requested" if amount.unit == "rows" else f"needs {counts[worst]:,} rows"
    problem = f"{amount} {need} and the domain has {size:,}{_within_repeats(mix)}"
    if total is not None:
        best = math.floor(mix.room(worst) / amount.value)
        problem += (
            f"; it is the scarcest domain of a stage of {round(total):,} rows, which could have at "
            f"most {best:,} at that share"
        )
    raise mix.error(worst, problem, _fix_for(mix, counts[worst] / mix.room(worst)))


def _check_token_room(mix: _Mix, budgets: Mapping[str, float], total: float) -> None:
    """Check that no domain draws more tokens than it may."""
    excess = {name: budget / max(mix.token_room(name), 1) for name, budget in budgets.items()}
    worst = max(excess, key=lambda name: excess[name])
    if excess[worst] <= 1 + 1e-12:
        return
    room = mix.token_room(worst)
    best = math.floor(room / mix.amounts[worst].value)
    raise mix.error(
        worst,
        f"{mix.amounts[worst]} needs {round(budgets[worst]):,} tokens and the domain has {room:,}"
        f"{_within_repeats(mix)}; it is the scarcest domain of a stage of {round(total):,} tokens, "
        f"which could have at most {best:,} at that share",
        _fix_for(mix, excess[worst]),
    )


def _within_repeats(mix: _Mix) -> str:
    return f" within max_repeats {mix.limit}" if mix.limit > 1 else ""


def _fix_for(mix: _Mix, factor: float) -> str:
    """Return the fix for an amount that is `factor` times the most that a domain may give."""
    if not math.isfinite(factor):
        return "take another amount"
    passes = math.ceil(factor * mix.limit - 1e-9)
    return f"set max_repeats: {passes} (a factor of {factor:.3g}), or take less"


def _number(value: Fraction) -> str:
    return f"{float(value):.6g}"


def _sum(values: Mapping[str, Fraction]) -> Fraction:
    return sum(values.values(), Fraction())
