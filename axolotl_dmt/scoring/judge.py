"""Grade answers with a judge model on any OpenAI-compatible server, with retries and a disk cache.

The API key is read from the environment only (DMT_JUDGE_API_KEY, else OPENAI_API_KEY). It is never
written to the cache, the log, an error or the task's metadata, which lm-eval saves, even if the
server repeats it.

A request that fails gives a judgment without a rating; no error of a server or of the disk ends the
evaluation. After `MOST_FAILURES` failures in a row no further request is sent.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.files import parse_json, read_json, write_text
from axolotl_dmt.scoring.ratings import read_rating
from axolotl_dmt.scoring.sources import Metadata, integer, setting

KEY_VARIABLES = ("DMT_JUDGE_API_KEY", "OPENAI_API_KEY")
MOST_FAILURES = 5
"""After so many failed requests in a row, the judge counts as unavailable."""
_NO_SECRETS = frozenset({"", "none", "empty", "dummy", "null", "-", "x", "token-abc123"})
"""What is written instead of a key where a local server needs none."""
LARGEST_ANSWER = 16 * 2**20
"""The size limit of a value in the cache, in bytes."""
_OWN_FIELDS = ("model", "messages", "stream", "n")

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


class DiskCache:
    """A folder of small JSON values, each stored under the hash of its key.

    A key is any JSON value, such as a request whose answer is stored.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._failed, self._lock = False, threading.Lock()

    def file(self, key: Any) -> Path:
        """Return the path at which the value of a key is stored, whether or not it exists."""
        text = json.dumps(key, sort_keys=True, ensure_ascii=False)
        # A model may write half a surrogate pair, which UTF-8 cannot represent.
        name = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        return self.folder / name[:2] / f"{name}.json"

    def get(self, key: Any) -> Any | None:
        """Return the value stored for a key; None if there is no readable value."""
        try:
            return read_json(self.file(key), most_bytes=LARGEST_ANSWER)
        except (OSError, ValueError):
            return None

    def put(self, key: Any, value: Any) -> None:
        """Store a value atomically; if that fails, log a warning once.

        What was paid for is not lost because a disk is full: the value is only not stored.
        """
        file = self.file(key)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps(value))
        except OSError as error:
            with self._lock:
                is_first, self._failed = not self._failed, True
            if is_first:
                log.warning("%s cannot be written, so nothing is stored: %s", self.folder, error)

    def check(self, name: str) -> None:
        """Raise DMTError if the folder cannot be written.

        Args:
            name: The setting that names the folder.

        Raises:
            DMTError: If the folder cannot be created, or a file in it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            problem = f"{self.folder} cannot be written ({error})"
            raise DMTError(name, problem, "name a folder that can be written") from error


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
        request: Fields of each request that replace or extend the usual ones, which are
            `temperature` and `max_tokens`; None leaves a field out.
    """

    model: str
    base_url: str | None = None
    cache: Path = field(default_factory=lambda: cache_folder({}))
    workers: int = 8
    timeout: int = 120
    retries: int = 5
    attempts: int = 2
    max_tokens: int = 2048
    request: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, metadata: Metadata) -> JudgeSettings:
        """Read the settings from the metadata or the environment.

        Raises:
            DMTError: If no model is named, a number or `dmt_judge_request` is invalid, or the
                metadata holds an API key.
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
            request=_request_fields(setting("dmt_judge_request", metadata)),
        )


def _request_fields(value: Any) -> dict[str, Any]:
    """Return the fields of `dmt_judge_request`, which is a mapping or JSON."""
    fix = (
        'use JSON such as {"temperature": null, "max_tokens": null, "max_completion_tokens": 2048}'
    )
    try:
        fields = parse_json(value) if isinstance(value, str) else dict(value or {})
    except (ValueError, TypeError) as error:
        raise DMTError("dmt_judge_request", f"{value!r} is not JSON", fix) from error
    if not isinstance(fields, dict):
        raise DMTError("dmt_judge_request", f"{value!r} is not an object", fix)
    for name in fields:
        if name in _OWN_FIELDS or "api_key" in name.lower():
            raise DMTError("dmt_judge_request", f"{name!r} cannot be set here", "leave it out")
    return fields


class Judge:
    """Grades answers through a chat API, many at once.

    Raises:
        DMTError: If the `openai` package is not installed, or the cache cannot be written.
    """

    def __init__(self, settings: JudgeSettings) -> None:
        try:
            import openai
        except ImportError as error:
            fix = "pip install 'axolotl-dmt[judge]'"
            raise DMTError("dmt_general_mtbench", "needs the openai package", fix) from error
        self.settings = settings
        keys = (os.environ.get(name, "").strip() for name in KEY_VARIABLES)
        self._key = next(filter(None, keys), "")
        self._client = openai.OpenAI(
            # A local server often needs no key, but the client requires one.
            api_key=self._key or "none",
            base_url=settings.base_url,
            timeout=settings.timeout,
            max_retries=settings.retries,
        )
        self._cache = DiskCache(settings.cache / "judgments")
        self._cache.check("dmt_judge_cache")
        self._failures = _Failures()

    def grade_all(self, prompts: Sequence[Sequence[Mapping[str, str]]]) -> list[Judgment]:
        """Grade several chats and return the judgments in order.

        A request that fails is not raised: its judgment has an `error` and no rating.
        """
        progress = _Progress(len(prompts))
        with ThreadPoolExecutor(max_workers=self.settings.workers) as pool:
            return list(pool.map(lambda prompt: progress.count(self.grade(prompt)), prompts))

    def grade(self, messages: Sequence[Mapping[str, str]]) -> Judgment:
        """Grade one chat, from the cache if possible; only judgments with a rating are stored."""
        usual = {"temperature": 0, "max_tokens": self.settings.max_tokens}
        request = {
            "model": self.settings.model,
            "messages": [dict(message) for message in messages],
            **{k: v for k, v in {**usual, **self.settings.request}.items() if v is not None},
        }
        cache_key = {**request, "base_url": self.settings.base_url}
        stored = self._cache.get(cache_key)
        if isinstance(stored, dict) and _is_rating(stored.get("rating")):
            return Judgment(rating=stored["rating"], text=_text(stored.get("text")), cached=True)
        judgment = Judgment(rating=None)
        for _ in range(self.settings.attempts):
            if reason := self._failures.reason():
                return replace(judgment, error=judgment.error or reason)
            judgment, answered = self._ask(request, judgment)
            if judgment.rating is not None:
                self._cache.put(cache_key, asdict(judgment))
            if judgment.rating is not None or not answered:
                break
        return judgment

    def _ask(self, request: Mapping[str, Any], before: Judgment) -> tuple[Judgment, bool]:
        """Request a judgment.

        Returns:
            The judgment, whose token counts include those of the attempt before, and whether the
            server answered.
        """
        fields = {name: request[name] for name in ("model", "messages")}
        others = {name: value for name, value in request.items() if name not in fields}
        try:
            answer = self._client.chat.completions.create(**fields, extra_body=others)
            text = _text(answer.choices[0].message.content)
        except Exception as error:
            # The client has already retried. A server may repeat a key that it refuses.
            reason = self._without_key(f"{type(error).__name__}: {error}")[:500]
            self._failures.count(reason)
            return replace(before, error=reason), False
        self._failures.reset()
        text = self._without_key(text)
        rating = read_rating(text)
        usage = getattr(answer, "usage", None)
        judgment = Judgment(
            rating=rating,
            text=text,
            error=f"no rating in {text[-80:]!r}" if rating is None else None,
            prompt_tokens=before.prompt_tokens + _tokens(usage, "prompt_tokens"),
            completion_tokens=before.completion_tokens + _tokens(usage, "completion_tokens"),
        )
        return judgment, True

    def _without_key(self, text: str) -> str:
        return text if self._key.lower() in _NO_SECRETS else text.replace(self._key, "[key]")


def _is_rating(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= 10


def _text(content: Any) -> str:
    """Return the text of a message, which some servers send as a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "".join(text for text in texts if isinstance(text, str))


def _tokens(usage: Any, name: str) -> int:
    """Return a count of tokens, which some servers leave out; 0 if there is none."""
    count = usage.get(name) if isinstance(usage, dict) else getattr(usage, name, None)
    return count if isinstance(count, int) else 0


class _Failures:
    """Counts failed requests in a row, over all threads."""

    def __init__(self) -> None:
        self._count, self._last, self._lock = 0, "", threading.Lock()

    def count(self, reason: str) -> None:
        """Count a failed request."""
        with self._lock:
            self._count, self._last = self._count + 1, reason

    def reset(self) -> None:
        """Note that a request was answered."""
        with self._lock:
            self._count = 0

    def reason(self) -> str | None:
        """Return why no further request should be sent; None while requests may be answered."""
        if self._count < MOST_FAILURES:
            return None
        return f"not requested: the last {self._count} requests failed ({self._last})"


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
