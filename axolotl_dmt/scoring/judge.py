"""Grade answers with a judge model on any OpenAI-compatible server, with retries and a disk cache.

The API key is read from the environment only (DMT_JUDGE_API_KEY, else OPENAI_API_KEY). It is never
written to the cache, the log, an error or the task's metadata, which lm-eval saves.
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
# The judge's verdict: `[[7]]`, as the prompt asks for, else `[7]`.
_RATINGS = (re.compile(r"\[\[(\d+(?:\.\d+)?)\]\]"), re.compile(r"\[(\d+(?:\.\d+)?)\]"))

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """The judge's verdict on one answer.

    Attributes:
        rating: From 1 to 10; None if the judge gave no rating.
        text: What the judge wrote.
        error: Why there is no rating, or None.
        prompt_tokens: Tokens sent for this judgment, all attempts included; 0 if it was cached.
        completion_tokens: Tokens received for it, counted in the same way.
        cached: Whether it was read from disk.
    """

    rating: float | None
    text: str = ""
    error: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: bool = False


def read_rating(text: str) -> float | None:
    """Return the rating in a judge's text; None if it contains no rating from 1 to 10."""
    for pattern in _RATINGS:
        if match := pattern.search(text):
            rating = float(match[1])
            return rating if 1 <= rating <= 10 else None
    return None


class DiskCache:
    """A folder of small JSON values, each stored under the hash of its key.

    A key is any JSON value, such as a request whose answer is stored.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def file(self, key: Any) -> Path:
        """Return the path at which the value of a key is stored, whether or not it exists."""
        text = json.dumps(key, sort_keys=True, ensure_ascii=False)
        name = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.json"

    def get(self, key: Any) -> Any | None:
        """Return the value stored for a key; None if there is no readable value."""
        try:
            return json.loads(self.file(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def put(self, key: Any, value: Any) -> None:
        """Store a value atomically.

        Raises:
            OSError: If the folder cannot be written.
        """
        file = self.file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(value, ensure_ascii=False))


def cache_folder(metadata: Metadata) -> Path:
    """Return the folder that `dmt_judge_cache` names, else one in the user's cache folder."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = setting("dmt_judge_cache", metadata)
    return Path(folder or Path(user_cache, "axolotl-dmt", "judge")).expanduser()


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """Which judge to use and how to ask it, from the `dmt_judge_...` settings.

    Attributes:
        model: The judge model's name.
        base_url: The server's address; None for OpenAI itself.
        cache: The folder of stored judgments.
        workers: How many requests run at once.
        timeout: Seconds that one request may take.
        retries: How often one request is repeated after a status of 408, 409, 429 or 5xx, a
            time-out or a lost connection.
        attempts: How often one judgment is requested if its rating cannot be read.
        max_tokens: The longest judgment, in tokens.
    """

    model: str
    base_url: str | None = None
    cache: Path = field(default_factory=lambda: cache_folder({}))
    workers: int = 8
    timeout: int = 120
    retries: int = 5
    attempts: int = 2
    max_tokens: int = 2048

    @classmethod
    def read(cls, metadata: Metadata) -> JudgeSettings:
        """Read the settings from the metadata or the environment.

        Raises:
            DMTError: If no model is named, a number is invalid, or the metadata holds an API key.
        """
        for name in metadata:
            if "api_key" in str(name).lower():
                fix = f"lm-eval saves the metadata, so set {KEY_VARIABLES[0]} instead"
                raise DMTError(str(name), "an API key must not be in the metadata", fix)
        model = setting("dmt_judge_model", metadata)
        if model is None:
            fix = "set it, for example DMT_JUDGE_MODEL=gpt-4o (and DMT_JUDGE_BASE_URL)"
            raise DMTError("dmt_judge_model", "no judge model is set", fix)
        defaults = cls(model=str(model), cache=cache_folder(metadata))

        def number(name: str, default: int) -> int:
            return integer(f"dmt_judge_{name}", metadata) or default

        return replace(
            defaults,
            base_url=setting("dmt_judge_base_url", metadata),
            workers=number("workers", defaults.workers),
            timeout=number("timeout", defaults.timeout),
            retries=number("retries", defaults.retries),
            attempts=number("attempts", defaults.attempts),
            max_tokens=number("max_tokens", defaults.max_tokens),
        )


class Judge:
    """Grades answers through a chat API, many at once.

    Raises:
        DMTError: If the `openai` package is not installed.
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
            # A local server often needs no key, but the client requires one.
            api_key=self._key or "none",
            base_url=settings.base_url,
            timeout=settings.timeout,
            max_retries=settings.retries,
        )
        self._cache = DiskCache(settings.cache / "judgments")

    def grade_all(self, prompts: Sequence[Sequence[Mapping[str, str]]]) -> list[Judgment]:
        """Grade several chats and return the judgments in order.

        A request that fails is not raised: its judgment has an `error` and no rating.

        Raises:
            OSError: If the cache folder cannot be written.
        """
        progress = _Progress(len(prompts))
        with ThreadPoolExecutor(max_workers=self.settings.workers) as pool:
            return list(pool.map(lambda prompt: progress.count(self.grade(prompt)), prompts))

    def grade(self, messages: Sequence[Mapping[str, str]]) -> Judgment:
        """Grade one chat, from the cache if possible; only judgments with a rating are stored.

        Raises:
            OSError: If the cache folder cannot be written.
        """
        request = {
            "model": self.settings.model,
            "messages": [dict(message) for message in messages],
            "temperature": 0,
            "max_tokens": self.settings.max_tokens,
        }
        cache_key = {**request, "base_url": self.settings.base_url}
        stored = self._cache.get(cache_key)
        if isinstance(stored, dict) and isinstance(stored.get("rating"), (int, float)):
            return Judgment(rating=stored["rating"], text=stored.get("text", ""), cached=True)
        judgment = Judgment(rating=None, error="not requested")
        for _ in range(self.settings.attempts):
            judgment = self._ask(request, judgment)
            if judgment.rating is not None:
                self._cache.put(cache_key, asdict(judgment))
                break
        return judgment

    def _ask(self, request: Mapping[str, Any], before: Judgment) -> Judgment:
        """Request a judgment; its token counts include those of the attempt before."""
        try:
            answer = self._client.chat.completions.create(**request)
            text = answer.choices[0].message.content or ""
        except Exception as error:
            # The client has already retried. A server may repeat a key that it refuses.
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
    """Counts judgments; logs the progress and the first failure of each kind."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.logged_failures: set[str] = set()
        self.lock = threading.Lock()

    def count(self, judgment: Judgment) -> Judgment:
        """Count a finished judgment and return it."""
        with self.lock:
            self.done += 1
            kind = (judgment.error or "").split(":")[0]
            if kind and kind not in self.logged_failures:
                self.logged_failures.add(kind)
                log.warning("judge: %s", judgment.error)
            if self.done % 20 == 0 or self.done == self.total:
                log.info("judge: %d of %d", self.done, self.total)
        return judgment
