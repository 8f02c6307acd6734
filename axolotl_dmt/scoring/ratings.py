"""Read the rating from 1 to 10 in a judge's text.

MT-Bench's prompt asks for `Rating: [[7]]`. Judges also write `[[ 7 ]]`, `[[7/10]]`, `**[[7]]**`,
`[[rating]]: 7`, `Rating: [7]`, `Rating: 7` or `7 out of 10`. The last rating of the first of these
forms that the text has is the verdict; if it is not from 1 to 10, there is none.
"""

from __future__ import annotations

import re

from axolotl_dmt.scoring.thinking import after_thinking

_NUMBER = r"\W{0,4}?(?<![-\d.])(\d+(?:\.\d+)?)\.?\s*(?:\*+\s*)?(?:(?:/|out\s+of)\s*10\s*)?"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"\[\[\s*\**\s*(?:(?:rating|score)\s*[:=]?\s*)?{_NUMBER}\**\s*\]\]"
        rf"|\[\[\s*(?:rating|score)\s*\]\]\s*[:=]?\s*{_NUMBER}",
        rf"\b(?:rating|score)\b\W{{0,6}}\[{_NUMBER}\]",
        rf"\[{_NUMBER}\]",
        rf"\b(?:rating|score)\b(?:\s+(?:is|of))?\s*[:=]?[\s*]*{_NUMBER}(?![\w\[])",
        r"(?<![-\d.])(\d+(?:\.\d+)?)\s*(?:/|out\s+of)\s*10\b",
    )
)
# What a judge quotes is the text of the model, or the format that it was asked for.
_QUOTES = re.compile(
    r"^[ \t]*(?P<fence>```|~~~).*?(?:^[ \t]*(?P=fence)[ \t]*$|\Z)"
    r"|^[ \t]*>[^\n]*$"
    r"|\"[^\"\n]*\"|“[^”\n]*”|«[^»\n]*»|`[^`\n]*`|(?<!\w)'[^'\n]*\[\[[^'\n]*'(?!\w)",
    re.MULTILINE | re.DOTALL,
)
_WHOLE_VERDICT = re.compile(
    r"[\W_]*(?:(?:final\s+)?(?:rating|score)\W*)?\[\[[^\[\]]*\]\][\W_]*", re.I
)


def read_rating(text: str) -> float | None:
    """Return the rating in a judge's text; None if it contains no rating from 1 to 10.

    Reasoning and quotes do not count, except that the last line may be the verdict in quotation
    marks and nothing else.
    """
    text = after_thinking(text).replace("\\[", "[").replace("\\]", "]")
    unquoted = _QUOTES.sub(" ", text)
    lines = text.strip().splitlines()
    for form in _FORMS:
        if ratings := list(form.finditer(unquoted)):
            return _rating(ratings[-1])
    if lines and _WHOLE_VERDICT.fullmatch(lines[-1]) and (rating := _FORMS[0].search(lines[-1])):
        return _rating(rating)
    return None


def _rating(match: re.Match[str]) -> float | None:
    rating = float(next(group for group in match.groups() if group is not None))
    return rating if 1 <= rating <= 10 else None
