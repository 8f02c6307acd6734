"""Fetches the files of a recipe from a folder, a zip file, a YAML, an https address or the Hub.

The author may be unknown. Every source yields a few small files in memory, each with a plain
relative name. Links, too many or too large files, and names that point outside the recipe are
refused before anything is written.
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
from typing import IO, Any, NoReturn

from axolotl_dmt.errors import DMTError, first_line
from axolotl_dmt.recipes.strict_yaml import read_yaml

SUFFIXES = (".yaml", ".yml", ".md", ".json", ".jsonl", ".png", ".txt", ".jinja")
"""The kinds of files that a recipe can contain; others are left out. None is executed."""

SMALL = "a recipe consists of a few small files"
"""The fix in the error for an exceeded limit."""

MOST_FILES = 200
LARGEST_FILE = 10 * 2**20
"""The size limit of one file, in bytes."""
LARGEST_TOTAL = 20 * 2**20
"""The size limit of all files together, in bytes."""
LARGEST_DOWNLOAD = 10 * 2**20
"""The size limit of a zip file or a download, in bytes."""
DEEPEST = 6
"""The limit on the parts of a file name, folders included."""
MOST_REDIRECTS = 5
CONNECT_SECONDS = 20
DOWNLOAD_SECONDS = 120

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
)
"""The exceptions that `zipfile` raises for damaged or encrypted files."""

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,99}")


@dataclass(frozen=True, kw_only=True)
class RecipeFiles:
    """The files of a recipe, whose content has not been checked.

    Attributes:
        name: a short name derived from the source.
        files: {relative name: bytes}.
        left_out: the names of files of other kinds than `SUFFIXES`, which were not read.
    """

    name: str
    files: dict[str, bytes]
    left_out: tuple[str, ...] = ()


@dataclass
class _Basket:
    """Collects the files of one source and enforces the limits on names, number and size."""

    where: str
    files: dict[str, bytes] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    count: int = 0
    total: int = 0

    def wants(self, name: str, size: int) -> bool:
        """Return whether to read a file; raise DMTError if its name or size is not allowed."""
        self.count += 1
        if self.count > MOST_FILES:
            self.refuse(f"has more than {MOST_FILES} files")
        check_name(name, self.where)
        if not name.lower().endswith(SUFFIXES):
            self.left_out.append(name)
            return False
        if name.lower() in (added.lower() for added in self.files):
            self.refuse(f"contains {name!r} twice")
        self._fits(name, size)
        return True

    def add(self, name: str, file: IO[bytes]) -> None:
        """Read a file, whatever size the source has declared for it."""
        data = file.read(LARGEST_FILE + 1)
        self._fits(name, len(data))
        self.files[name] = data
        self.total += len(data)

    def _fits(self, name: str, size: int) -> None:
        if size > LARGEST_FILE:
            self.refuse(f"{name!r} is larger than {LARGEST_FILE // 2**20} MiB")
        if self.total + size > LARGEST_TOTAL:
            self.refuse(f"is larger than {LARGEST_TOTAL // 2**20} MiB")

    def refuse(self, problem: str) -> NoReturn:
        raise DMTError(self.where, problem, SMALL)


def load(source: str, *, installed: bool = False) -> RecipeFiles:
    """Return the files of a recipe from any source.

    Args:
        source: a folder, a zip file, a YAML file, the `https://` address of one of these files, or
            `hf://user/repository[@revision]`.
        installed: whether it is the folder of an installed package, whose files may be hard links:
            some installers link them to a cache.

    Raises:
        DMTError: the source does not exist, or is not a valid recipe.
    """
    if source.startswith("hf://"):
        return from_hub(source)
    if "://" in source:
        return from_bytes(download(source), source)
    path = Path(source)
    if path.is_dir():
        return from_folder(path, hard_links=installed)
    if path.is_file():
        with path.open("rb") as file:
            return from_bytes(file.read(LARGEST_DOWNLOAD + 1), source)
    raise DMTError(
        "SOURCE",
        f"no folder or file {source}",
        "name a folder, a zip file, a YAML, an https:// address, hf://user/repository, or a recipe "
        "from `axolotl dmt recipe list`",
    )


def from_bytes(data: bytes, where: str) -> RecipeFiles:
    """Return the files of a recipe from the bytes of a zip file or a YAML.

    Args:
        data: the bytes.
        where: the file or address that they come from.

    Raises:
        DMTError: they are neither, or exceed a limit.
    """
    name = _short_name(where)
    if len(data) > LARGEST_DOWNLOAD:
        raise DMTError(where, f"is larger than {LARGEST_DOWNLOAD // 2**20} MiB", SMALL)
    if data.startswith(b"PK"):
        return from_zip(data, where)
    try:
        read_yaml(data, where)
    except DMTError as error:
        if where.endswith((".yaml", ".yml")):
            raise
        problem = f"is neither a zip file nor a YAML ({error.problem})"
        raise DMTError(where, problem, "name the folder, zip file or YAML of a recipe") from None
    return RecipeFiles(name=name, files={"dmt.yaml": data})


def from_zip(data: bytes, where: str) -> RecipeFiles:
    """Return the files of a recipe from the bytes of a zip file, without unpacking it to disk.

    Raises:
        DMTError: the zip file is damaged, or contains a file that is not allowed.
    """
    basket = _Basket(where)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    basket.refuse(f"{entry.filename!r} is a link or a device")
                # `filename` is cut at a NUL and, on Windows, has its backslashes replaced.
                name = entry.orig_filename
                if entry.is_dir():
                    check_name(name.rstrip("/"), where)
                elif not _hidden(name) and basket.wants(name, entry.file_size):
                    with archive.open(entry) as file:
                        basket.add(name, file)
    except DMTError:
        raise
    except _ZIP_ERRORS as error:
        raise DMTError(where, f"is not a valid zip file ({error})", "zip it again") from None
    return _recipe_files(_without_top_folder(basket), where)


def from_folder(folder: Path, *, hard_links: bool = False) -> RecipeFiles:
    """Return the files of a recipe from a folder, without hidden files.

    Args:
        folder: the folder.
        hard_links: whether files may have other names, perhaps outside the folder.

    Raises:
        DMTError: the folder contains a link or another file that is not allowed.
    """
    basket = _Basket(str(folder))
    for path in _walk(folder, folder, basket):
        if path.stat().st_nlink > 1 and not hard_links:
            basket.refuse(f"{path.relative_to(folder)} is a hard link")
        name = path.relative_to(folder).as_posix()
        if basket.wants(name, path.stat().st_size):
            # O_NOFOLLOW: the file may have been replaced by a link since it was listed.
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                basket.add(name, file)
    return _recipe_files(basket, str(folder))


def from_hub(source: str) -> RecipeFiles:
    """Return the files of a recipe from a model repository on the Hugging Face Hub.

    Args:
        source: `hf://user/repository[@revision]`.

    Raises:
        DMTError: there is no such repository, the Hub cannot be reached, or a file is not allowed.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.hf_api import RepoFile

    name, _, revision = source.removeprefix("hf://").strip("/").partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or not re.fullmatch(r"[\w./-]*", revision):
        raise DMTError(
            "SOURCE", f"{source} does not name a repository", "write hf://user/repository"
        )
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
    except Exception as error:  # the Hub client raises exceptions of several libraries
        problem = f"cannot be fetched ({first_line(error)})"
        raise DMTError(source, problem, "check the name") from None
    return _recipe_files(basket, source)


def check_name(name: str, where: str) -> None:
    """Raise DMTError unless a file name is plain, relative and inside the recipe.

    Args:
        name: the name, with `/` between folders.
        where: the source of the recipe, for error messages.

    Raises:
        DMTError: the name is not allowed.
    """
    parts = name.split("/")
    if len(parts) > DEEPEST or not all(_is_plain(part) for part in parts):
        problem = f"contains a file named {name!r}"
        raise DMTError(where, problem, "use plain file names inside the recipe")


def _is_plain(part: str) -> bool:
    dots = part.startswith("..") or part.endswith((".", " "))
    return not dots and _PART.fullmatch(part.lstrip(".")) is not None


def _hidden(name: str) -> bool:
    """Return whether a file is hidden, such as `.gitattributes`; a path with `..` is not."""
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
            basket.refuse(f"{path.relative_to(root)} is not a regular file")


def _without_top_folder(basket: _Basket) -> _Basket:
    """Remove the folder that contains all files, which the zip files of code hosts have."""
    tops = {name.split("/", 1)[0] for name in basket.files}
    if len(tops) == 1 and all("/" in name for name in basket.files):
        basket.files = {name.split("/", 1)[1]: data for name, data in basket.files.items()}
    return basket


def _recipe_files(basket: _Basket, where: str) -> RecipeFiles:
    return RecipeFiles(name=_short_name(where), files=basket.files, left_out=tuple(basket.left_out))


def _short_name(where: str) -> str:
    last = where.split("?")[0].rstrip("/").rsplit("/", 1)[-1].split("@")[0]
    stem = re.sub(r"\.(zip|ya?ml)$", "", last)
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-") or "recipe"


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https addresses only."""

    max_redirections = MOST_REDIRECTS

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Any:
        if not newurl.startswith("https://"):
            problem = f"redirects to {newurl}, which is not https"
            raise DMTError(req.full_url, problem, "use another address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str) -> bytes:
    """Return the bytes at an https address, at most `LARGEST_DOWNLOAD`.

    Raises:
        DMTError: the address or a redirect is not https, the download is too large or too slow, or
            the address cannot be reached.
    """
    if not url.startswith("https://"):
        raise DMTError("SOURCE", f"{url} is not https", "use an https:// address")
    # An opener without the default handlers cannot open http, ftp or file addresses.
    opener = urllib.request.OpenerDirector()
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
        with opener.open(request, timeout=CONNECT_SECONDS) as response:
            return _read(response, url, deadline)
    except DMTError:
        raise
    except (OSError, ValueError, urllib.error.URLError) as error:
        problem = f"cannot be fetched ({' '.join(str(error).split())})"
        raise DMTError(url, problem, "check the address") from None


def _read(response: Any, url: str, deadline: float) -> bytes:
    data = bytearray()
    while chunk := response.read1(2**16):
        data += chunk
        if len(data) > LARGEST_DOWNLOAD:
            raise DMTError(url, f"is larger than {LARGEST_DOWNLOAD // 2**20} MiB", SMALL)
        if time.monotonic() > deadline:
            raise DMTError(url, f"takes more than {DOWNLOAD_SECONDS} s", "try again later")
    return bytes(data)
