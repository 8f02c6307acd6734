"""What all pictures of a study share: their looks, panels and error bars."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from axolotl_dmt.intervals import Interval

MARKERS = ("o", "s", "^", "D", "v", "P")
_DPI = 150
SHOWN_SIZE = 100 / _DPI
"""CSS pixels to show a pixel of a picture at: sharp on fine screens, and text of a page's size."""
PANEL = (3.5, 2.7)  # inches: on a phone a panel is about its own size


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a picture is drawn.

    Attributes:
        dark: light ink on a dark page.
        narrow: panels below each other, for a phone.
    """

    dark: bool = False
    narrow: bool = False

    @property
    def page(self) -> str:
        """The colours are those of the stylesheet."""
        return "#16181b" if self.dark else "#fdfdfc"

    @property
    def ink(self) -> str:
        """Of text."""
        return "#e6e8ea" if self.dark else "#1f2328"

    @property
    def soft(self) -> str:
        """Of what is beside the point."""
        return "#a0a7af" if self.dark else "#5c636b"

    @property
    def faint(self) -> str:
        """Of rules."""
        return "#32373d" if self.dark else "#e3e5e8"

    @property
    def colours(self) -> tuple[str, ...]:
        """Okabe and Ito's, told apart by most colour-blind readers; lighter on a dark page."""
        if self.dark:
            return ("#4fa8e0", "#f08a4b", "#35c79a", "#e08fbd", "#e3b04b", "#8ccbee")
        return ("#0072b2", "#d55e00", "#009e73", "#b8578f", "#b07a00", "#3d94c4")


Draw = Callable[[Look], Any]


def png(draw: Draw, look: Look) -> bytes:
    """A picture as the bytes of a PNG."""
    file = io.BytesIO()
    draw(look).savefig(file, format="png", dpi=_DPI, facecolor=look.page)
    return file.getvalue()


def new_figure(width: float, height: float) -> Any:
    """An empty figure of a size in inches."""
    # A Figure without pyplot draws with Agg and touches no global state.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels(count: int, look: Look, most: int = 3) -> tuple[Any, list[Any]]:
    """A figure and its panels: side by side, up to `most`, or below each other on a phone."""
    columns = 1 if look.narrow else min(count, most)
    rows = math.ceil(count / columns)
    figure = new_figure(PANEL[0] * columns, PANEL[1] * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def dress(axes: Any, look: Look, title: str = "") -> None:
    """Give a panel its look and its title."""
    axes.set_facecolor(look.page)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(look.faint)
    axes.grid(axis="y", color=look.faint, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, colors=look.soft, labelsize=8.5)
    axes.xaxis.label.set_color(look.soft)
    axes.yaxis.label.set_color(look.soft)
    axes.set_title(label(title), loc="left", fontsize=10, color=look.ink)


def label(words: str, longest: int = 34) -> str:
    """Words that fit, and that no formula is read into."""
    # "$" would start a formula.
    words = words.replace("$", r"\$")
    return words if len(words) <= longest else words[: longest - 1] + "…"


def error_lengths(found: Sequence[Interval]) -> list[list[float]]:
    """Lengths of error bars, below and above."""
    below = [0.0 if i.low is None else i.mean - i.low for i in found]
    above = [0.0 if i.high is None else i.high - i.mean for i in found]
    return [below, above]


def error_bars(axes: Any, x: Sequence[float], found: Sequence[Interval], **style: Any) -> None:
    """Draw means with their intervals."""
    axes.errorbar(
        x,
        [i.mean for i in found],
        yerr=error_lengths(found),
        markersize=5,
        elinewidth=1.1,
        capsize=2.5,
        **style,
    )


def whole_scale(axes: Any, scale: float) -> None:
    """Show 0 to the top of an ability's scale."""
    axes.set_ylim(-0.04 * scale, 1.04 * scale)
