"""A judge behind any server that speaks OpenAI's chat API, with retries and a cache on disk.

The key is read from the environment only (DMT_JUDGE_API_KEY, else OPENAI_API_KEY) and is never
written anywhere: not to the cache, the log, an error or the task's metadata, which lm-eval saves.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import write_text
from axolotl_dmt.scoring.sources import Metadata, integer, setting

KEY_VARIABLES = ("DMT_JUDGE_API_KEY", "OPENAI_API_KEY")
# The judge's verdict: `[[7]]` as it is asked for, else `[7]`.
_RATINGS = (re.compile(r"\[\[(\d+(?:\.\d+)?)\]\]"), re.compile(r"\[(\d+(?:\.\d+)?)\]"))

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """One answer's grade.

    Attributes:
        rating: 1 to 10, or None where the judge gave none.
        text: what the judge wrote.
        error: why there is no rating, or None.
        prompt_tokens: tokens this judgment cost, retries included; 0 where it came from the cache.
        completion_tokens: likewise.
        cached: whether it was read from disk.
    """

    rating: float | None
    text: str = ""
    error: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: bool = False


def read_rating(text: str) -> float | None:
    """The rating in a judge's text, None where there is none between 1 and 10."""
    for pattern in _RATINGS:
        if found := pattern.search(text):
            rating = float(found[1])
            return rating if 1 <= rating <= 10 else None
    return None


class DiskCache:
    """Small JSON documents in a folder, each under the hash of what it answers."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def file(self, content: Any) -> Path:
        """Where the answer to this content lies, or would."""
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
        name = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.json"

    def get(self, content: Any) -> Any | None:
        """What was stored for it; None if nothing readable was."""
        try:
            return json.loads(self.file(content).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def put(self, content: Any, value: Any) -> None:
        """Store a value, whole or not at all."""
        file = self.file(content)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(value, ensure_ascii=False))


def cache_folder(metadata: Metadata) -> Path:
    """The folder that `dmt_judge_cache` names, else one in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    given = setting("dmt_judge_cache", metadata)
    return Path(given or Path(home, "axolotl-dmt", "judge")).expanduser()


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """Where the judge is and how it is asked; from `dmt_judge_...` settings."""

    model: str
    base_url: str | None = None  # None: OpenAI's own
    cache: Path = field(default_factory=lambda: cache_folder({}))
    workers: int = 8
    timeout: int = 120  # seconds for one request
    retries: int = 5  # of one request, after 408, 409, 429, 5xx, time-outs and lost connections
    attempts: int = 2  # requests for one judgment, where a rating cannot be read
    max_tokens: int = 2048

    @classmethod
    def read(cls, metadata: Metadata) -> JudgeSettings:
        """Read them from the metadata or the environment.

        Raises:
            DMTError: no model is named, a number is none, or the metadata holds a key.
        """
        for name in metadata:
            if "api_key" in str(name).lower():
                fix = f"lm-eval saves metadata: put the key in {KEY_VARIABLES[0]} instead"
                raise DMTError(str(name), "a key does not belong in the metadata", fix)
        model = setting("dmt_judge_model", metadata)
        if model is None:
            fix = "name one, for example DMT_JUDGE_MODEL=gpt-4o (and DMT_JUDGE_BASE_URL)"
            raise DMTError("dmt_judge_model", "no judge is named", fix)
        default = cls(model=str(model), cache=cache_folder(metadata))

        def number(name: str, otherwise: int) -> int:
            return integer(f"dmt_judge_{name}", metadata) or otherwise

        return replace(
            default,
            base_url=setting("dmt_judge_base_url", metadata),
            workers=number("workers", default.workers),
            timeout=number("timeout", default.timeout),
            retries=number("retries", default.retries),
            attempts=number("attempts", default.attempts),
            max_tokens=number("max_tokens", default.max_tokens),
        )


class Judge:
    """Grades answers through a chat API, many at a time.

    Raises:
        DMTError: the `openai` package is not installed.
    """

    def __init__(self, settings: JudgeSettings) -> None:
        try:
            import openai
        except ImportError as error:
            fix = "pip install 'axolotl-dmt[judge]'"
            raise DMTError("dmt_general_mtbench", "needs the openai package", fix) from error
        self.settings = settings
        self._key = next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), "")
        self._client = openai.OpenAI(
            # A server of one's own often wants no key, but the client does.
            api_key=self._key or "none",
            base_url=settings.base_url,
            timeout=settings.timeout,
            max_retries=settings.retries,
        )
        self._cache = DiskCache(settings.cache / "judgments")

    def grade_all(self, prompts: Sequence[Sequence[Mapping[str, str]]]) -> list[Judgment]:
        """Grade several chats, in order; a failure is a judgment without a rating, never raised."""
        done = _Progress(len(prompts))
        with ThreadPoolExecutor(max_workers=self.settings.workers) as pool:
            return list(pool.map(lambda prompt: done(self.grade(prompt)), prompts))

    def grade(self, messages: Sequence[Mapping[str, str]]) -> Judgment:
        """Grade one: from the cache, else by asking. Only judgments with a rating are stored."""
        request = {
            "model": self.settings.model,
            "messages": [dict(message) for message in messages],
            "temperature": 0,
            "max_tokens": self.settings.max_tokens,
        }
        identity = {**request, "base_url": self.settings.base_url}
        stored = self._cache.get(identity)
        if isinstance(stored, dict) and isinstance(stored.get("rating"), (int, float)):
            return Judgment(rating=stored["rating"], text=stored.get("text", ""), cached=True)
        judgment = Judgment(rating=None, error="never asked")
        for _ in range(self.settings.attempts):
            judgment = self._ask(request, judgment)
            if judgment.rating is not None:
                self._cache.put(identity, asdict(judgment))
                break
        return judgment

    def _ask(self, request: Mapping[str, Any], before: Judgment) -> Judgment:
        try:
            answer = self._client.chat.completions.create(**request)
            text = answer.choices[0].message.content or ""
        except Exception as error:
            # The client retried already what is worth it; a server may echo the key it refused.
            return replace(before, error=self._without_key(f"{type(error).__name__}: {error}"))
        rating = read_rating(text)
        return Judgment(
            rating=rating,
            text=text,
            error=f"no rating in {text[-80:]!r}" if rating is None else None,
            prompt_tokens=before.prompt_tokens + getattr(answer.usage, "prompt_tokens", 0),
            completion_tokens=before.completion_tokens
            + getattr(answer.usage, "completion_tokens", 0),
        )

    def _without_key(self, text: str) -> str:
        return (text.replace(self._key, "[key]") if self._key else text)[:500]


class _Progress:
    """Logs the first failure of each kind, and how far the judge has come."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.seen: set[str] = set()
        self.lock = threading.Lock()

    def __call__(self, judgment: Judgment) -> Judgment:
        with self.lock:
            self.done += 1
            kind = (judgment.error or "").split(":")[0]
            if kind and kind not in self.seen:
                self.seen.add(kind)
                log.warning("judge: %s", judgment.error)
            if self.done % 20 == 0 or self.done == self.total:
                log.info("judge: %d of %d", self.done, self.total)
        return judgment
