"""Fetching a stranger's recipe: a folder, a zip file, a YAML, an https address, or the hub.

Whatever it comes as, it ends as some small files in memory, each under a plain relative name. A
recipe of links, of too many or too large files, or with names that lead elsewhere is refused before
anything is written.
"""

from __future__ import annotations

import io
import os
import re
import stat
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any

from axolotl_dmt.errors import DMTError
from axolotl_dmt.recipe_yaml import read_yaml

SUFFIXES = (".yaml", ".yml", ".md", ".json", ".jsonl", ".png", ".txt", ".jinja")
"""Kinds of files that a recipe may bring; others stay behind. None of them is run."""

MOST_FILES = 200
LARGEST_FILE = 10 * 2**20
LARGEST_TOTAL = 20 * 2**20
LARGEST_DOWNLOAD = 10 * 2**20
"""Bytes."""
DEEPEST = 6
MOST_REDIRECTS = 5
CONNECT_SECONDS = 20
DOWNLOAD_SECONDS = 120

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,99}")


@dataclass(frozen=True, kw_only=True)
class RecipeFiles:
    """A recipe's files, not yet trusted.

    Attributes:
        name: a short name taken from the source.
        files: {relative name: bytes}.
        left_out: names of files that are of no kind a recipe needs.
    """

    name: str
    files: dict[str, bytes]
    left_out: tuple[str, ...] = ()


@dataclass
class _Basket:
    """Collects files and refuses what does not fit."""

    where: str
    files: dict[str, bytes] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    count: int = 0
    total: int = 0

    def wants(self, name: str, size: int) -> bool:
        """Whether a file is to be read; refuses a name, a number or a size that does not fit."""
        self.count += 1
        if self.count > MOST_FILES:
            self.refuse(f"has more than {MOST_FILES} files")
        check_name(name, self.where)
        if not name.lower().endswith(SUFFIXES):
            self.left_out.append(name)
            return False
        if name.lower() in (known.lower() for known in self.files):
            self.refuse(f"has {name!r} twice")
        self._fits(name, size)
        return True

    def add(self, name: str, file: IO[bytes]) -> None:
        """Read a file whose announced size is not to be believed."""
        data = file.read(LARGEST_FILE + 1)
        self._fits(name, len(data))
        self.files[name] = data
        self.total += len(data)

    def _fits(self, name: str, size: int) -> None:
        if size > LARGEST_FILE:
            self.refuse(f"{name!r} is larger than {LARGEST_FILE // 2**20} MiB")
        if self.total + size > LARGEST_TOTAL:
            self.refuse(f"is larger than {LARGEST_TOTAL // 2**20} MiB")

    def refuse(self, problem: str) -> None:
        raise DMTError(self.where, problem, "a recipe is a few small files")


def load(source: str) -> RecipeFiles:
    """The files of a recipe.

    Args:
        source: a folder, a zip file, a YAML file, `https://...` of one of the latter two, or
            `hf://user/repository[@revision]`.

    Raises:
        DMTError: no such thing, or it is refused.
    """
    if source.startswith("hf://"):
        return from_hub(source)
    if "://" in source:
        return from_bytes(download(source), source)
    path = Path(source)
    if path.is_dir():
        return from_folder(path)
    if path.is_file():
        with path.open("rb") as file:
            return from_bytes(file.read(LARGEST_DOWNLOAD + 1), source)
    raise DMTError(
        "SOURCE",
        f"no folder or file {source}",
        "name a folder, a zip, a YAML, https://..., hf://user/repository or a name that "
        "`axolotl dmt recipe list` shows",
    )


def from_bytes(data: bytes, where: str) -> RecipeFiles:
    """A recipe from the bytes of a zip file or of a YAML.

    Raises:
        DMTError: it is refused.
    """
    name = _short_name(where)
    if len(data) > LARGEST_DOWNLOAD:
        problem = f"is larger than {LARGEST_DOWNLOAD // 2**20} MiB"
        raise DMTError(where, problem, "a recipe is a few small files")
    if data.startswith(b"PK"):
        return from_zip(data, where)
    try:
        read_yaml(data, where)
    except DMTError as error:
        if where.endswith((".yaml", ".yml")):
            raise
        problem = f"is neither a zip file nor a YAML ({error.problem})"
        raise DMTError(where, problem, "name a recipe's folder, zip or YAML") from None
    return RecipeFiles(name=name, files={"dmt.yaml": data})


def from_zip(data: bytes, where: str) -> RecipeFiles:
    """A recipe from a zip file; nothing is unpacked to disk.

    Raises:
        DMTError: it is refused.
    """
    basket = _Basket(where)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    basket.refuse(f"{entry.filename!r} is a link or a device")
                # zipfile cuts a name at a NUL and turns a backslash of Windows round
                name = entry.orig_filename
                if entry.is_dir():
                    check_name(name.rstrip("/"), where)
                elif not _hidden(name) and basket.wants(name, entry.file_size):
                    with archive.open(entry) as file:
                        basket.add(name, file)
    except DMTError:
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise DMTError(where, f"is no sound zip file ({error})", "pack it anew") from None
    except (OSError, ValueError) as error:
        raise DMTError(where, f"is no sound zip file ({error})", "pack it anew") from None
    return _done(_without_top_folder(basket), where)


def from_folder(folder: Path) -> RecipeFiles:
    """A recipe from a folder; hidden files are passed by, links are refused.

    Raises:
        DMTError: it is refused.
    """
    basket = _Basket(str(folder))
    for path in _walk(folder, folder, basket):
        name = path.relative_to(folder).as_posix()
        if basket.wants(name, path.stat().st_size):
            # a file that became a link meanwhile is not followed
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                basket.add(name, file)
    return _done(basket, str(folder))


def from_hub(source: str) -> RecipeFiles:
    """A recipe from a model repository of the Hugging Face hub: `hf://user/repo[@revision]`.

    Raises:
        DMTError: no such repository, the hub cannot be reached, or the recipe is refused.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.hf_api import RepoFile

    name, _, revision = source.removeprefix("hf://").strip("/").partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or not re.fullmatch(r"[\w./-]*", revision):
        raise DMTError("SOURCE", f"{source} names no repository", "write hf://user/repository")
    basket = _Basket(source)
    try:
        listed = HfApi().list_repo_tree(name, recursive=True, revision=revision or None)
        with tempfile.TemporaryDirectory(prefix="axolotl-dmt-") as scratch:
            for entry in listed:
                if not isinstance(entry, RepoFile) or _hidden(entry.path):
                    continue
                if basket.wants(entry.path, entry.size):
                    local = hf_hub_download(
                        name, entry.path, revision=revision or None, local_dir=scratch
                    )
                    with open(local, "rb") as file:
                        basket.add(entry.path, file)
    except DMTError:
        raise
    except Exception as error:  # the hub's client raises the errors of several libraries
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DMTError(source, f"cannot be fetched ({first})", "check its name") from None
    return _done(basket, source)


def check_name(name: str, where: str) -> None:
    """Refuse a file name that is not plain, relative and inside.

    Raises:
        DMTError: naming it.
    """
    parts = name.split("/")
    if len(parts) > DEEPEST or not all(_PART.fullmatch(part.lstrip(".")) for part in parts):
        raise DMTError(where, f"has a file {name!r}", "name files plainly, inside the recipe")
    if any(part.startswith("..") or part.endswith((".", " ")) for part in parts):
        raise DMTError(where, f"has a file {name!r}", "name files plainly, inside the recipe")


def _hidden(name: str) -> bool:
    """Whether a file is none of the recipe's, `.gitattributes` for one; `..` is not hidden."""
    return any(re.match(r"\.[A-Za-z]", part) for part in name.split("/")) and ".." not in name


def _walk(folder: Path, root: Path, basket: _Basket) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if _hidden(entry.name):
            continue
        path = Path(entry.path)
        if entry.is_symlink():
            basket.refuse(f"{path.relative_to(root)} is a link")
        elif entry.is_dir():
            check_name(path.relative_to(root).as_posix(), basket.where)
            yield from _walk(path, root, basket)
        elif entry.is_file():
            yield path
        else:
            basket.refuse(f"{path.relative_to(root)} is no file")


def _without_top_folder(basket: _Basket) -> _Basket:
    """A zip of a folder, as code hosts serve them, has all under one name."""
    tops = {name.split("/", 1)[0] for name in basket.files}
    if len(tops) == 1 and all("/" in name for name in basket.files):
        basket.files = {name.split("/", 1)[1]: data for name, data in basket.files.items()}
    return basket


def _done(basket: _Basket, where: str) -> RecipeFiles:
    return RecipeFiles(name=_short_name(where), files=basket.files, left_out=tuple(basket.left_out))


def _short_name(where: str) -> str:
    last = where.split("?")[0].rstrip("/").rsplit("/", 1)[-1].split("@")[0]
    stem = re.sub(r"\.(zip|ya?ml)$", "", last)
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-") or "recipe"


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    max_redirections = MOST_REDIRECTS

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Any:
        if not newurl.startswith("https://"):
            problem = f"leads on to {newurl}, which is not https"
            raise DMTError(req.full_url, problem, "use another address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str) -> bytes:
    """The bytes at an https address, at most `LARGEST_DOWNLOAD` of them.

    Raises:
        DMTError: not https, a redirect away from it, too large, too slow, or not to be had.
    """
    if not url.startswith("https://"):
        raise DMTError("SOURCE", f"{url} is not https", "use an https:// address")
    opener = urllib.request.OpenerDirector()  # without its usual handlers: no http, ftp or file
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _OnlyHttps(),
    ):
        opener.add_handler(handler)
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    request = urllib.request.Request(url, headers={"User-Agent": "axolotl-dmt"})
    try:
        with opener.open(request, timeout=CONNECT_SECONDS) as answer:
            return _read(answer, url, deadline)
    except DMTError:
        raise
    except (OSError, ValueError, urllib.error.URLError) as error:
        why = " ".join(str(error).split())
        raise DMTError(url, f"cannot be fetched ({why})", "check the address") from None


def _read(answer: Any, url: str, deadline: float) -> bytes:
    data = bytearray()
    while chunk := answer.read1(2**16):
        data += chunk
        if len(data) > LARGEST_DOWNLOAD:
            problem = f"is larger than {LARGEST_DOWNLOAD // 2**20} MiB"
            raise DMTError(url, problem, "a recipe is a few small files")
        if time.monotonic() > deadline:
            raise DMTError(url, f"took more than {DOWNLOAD_SECONDS} s", "try again later")
    return bytes(data)
