"""A stranger's files are small and plainly named, wherever they come from, or they are refused."""

from __future__ import annotations

import functools
import io
import os
import socket
import ssl
import stat
import struct
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_dmt import recipe_source
from axolotl_dmt.errors import DMTError
from axolotl_dmt.recipe_source import check_name, download, from_bytes, from_folder, load
from axolotl_dmt.recipes import save_files

YAML = b"base_model: x\n"


def packed(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def refusal(what: bytes | Path | str) -> str:
    with pytest.raises(DMTError) as caught:
        if isinstance(what, bytes):
            from_bytes(what, "recipe.zip")
        else:
            load(str(what))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_zip_with_or_without_a_top_folder_is_read_without_unpacking() -> None:
    flat = packed(("dmt.yaml", YAML), ("data/x.jsonl", b"{}"), (".gitattributes", b""))
    assert from_bytes(flat, "a/b.zip").files == {"dmt.yaml": YAML, "data/x.jsonl": b"{}"}
    top = packed(("repo-main/", b""), ("repo-main/dmt.yaml", YAML), ("repo-main/x.py", b"1"))
    found = from_bytes(top, "https://host/user/My%20recipe.zip?x=1")
    assert (found.files, found.left_out) == ({"dmt.yaml": YAML}, ("repo-main/x.py",))
    assert found.name == "My-20recipe"


def test_a_yaml_alone_is_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_bytes(YAML)
    assert load(str(tmp_path / "my.yaml")).files == {"dmt.yaml": YAML}


@pytest.mark.parametrize(
    "name",
    [
        "../evil.yaml",
        "a/../../evil.yaml",
        "/etc/evil.yaml",
        "//evil.yaml",
        "C:/evil.yaml",
        "a\\..\\evil.yaml",
        "a//b.yaml",
        "./evil.yaml",
        "a/./b.yaml",
        "..evil.yaml",
        "evil.yaml/..",
        "evil\x1b.yaml",
        "~/evil.yaml",
        "a/b/c/d/e/f/g.yaml",
        "x" * 200 + ".yaml",
        "\u202eevil.yaml",
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    assert "has a file" in refusal(packed(("dmt.yaml", YAML), (name, b"x")))


def test_a_name_with_a_nul_is_not_cut_short() -> None:
    data = packed(("evil.yaml#.py", b"x")).replace(b"#", b"\0")
    assert "has a file" in refusal(data)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(kind: int) -> None:
    entry = zipfile.ZipInfo("dmt.yaml")
    entry.external_attr = (kind | 0o644) << 16
    assert "is a link or a device" in refusal(packed((entry, b"/etc/passwd")))


def test_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    big = b"0" * (recipe_source.LARGEST_FILE + 1)
    assert "is larger than 10 MiB" in refusal(packed(("a.json", big)))
    part = b"0" * (recipe_source.LARGEST_FILE - 1)
    assert "is larger than 20 MiB" in refusal(packed(*((f"{i}.json", part) for i in range(3))))
    many = packed(*((f"{i}.json", b"") for i in range(recipe_source.MOST_FILES + 1)))
    assert "more than 200 files" in refusal(many)
    junk = packed(*((f"{i}.py", b"") for i in range(recipe_source.MOST_FILES + 1)))
    assert "more than 200 files" in refusal(junk)
    monkeypatch.setattr(recipe_source, "LARGEST_DOWNLOAD", 10)
    assert "is larger than" in refusal(packed(("a.json", b"x")))


def test_a_size_that_lies_is_not_believed() -> None:
    data = bytearray(packed(("a.json", b"0" * (recipe_source.LARGEST_FILE + 10))))
    at = data.rindex(b"PK\x01\x02") + 24  # the uncompressed size in the central directory
    data[at : at + 4] = struct.pack("<I", 100)
    assert refusal(bytes(data))  # cut off, then its checksum is wrong


def test_what_is_no_sound_zip_is_refused() -> None:
    good = packed(("dmt.yaml", YAML * 100))
    assert "is no sound zip file" in refusal(b"PK\x03\x04" + b"junk" * 9)
    assert "is no sound zip file" in refusal(good[:-30])
    damaged = bytearray(good)
    damaged[45] ^= 0xFF
    assert "is no sound zip file" in refusal(bytes(damaged))
    locked = bytearray(good)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + place] |= 1
    assert "is no sound zip file" in refusal(bytes(locked))


@given(st.binary(max_size=200))
def test_any_bytes_end_in_files_or_in_one_line(junk: bytes) -> None:
    good = packed(("dmt.yaml", YAML))
    for data in (b"PK" + junk, good[:20] + junk + good[20:], good[:-20] + junk):
        try:
            from_bytes(data, "x.zip")
        except DMTError as error:
            assert str(error)


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.warns(UserWarning):
        twice = packed(("dmt.yaml", YAML), ("dmt.yaml", b"other: 1"))
    assert "twice" in refusal(twice)
    assert "twice" in refusal(packed(("dmt.yaml", YAML), ("DMT.yaml", b"other: 1")))


@given(st.text(max_size=20) | st.lists(st.sampled_from(["..", ".", "a", "", "b c"])).map("/".join))
def test_a_name_that_passes_stays_inside(name: str) -> None:
    try:
        check_name(name, "x")
    except DMTError:
        return
    path = Path("/work/folder", name)
    assert os.path.normpath(path) == str(path) and path.is_relative_to("/work/folder")
    assert ".." not in path.parts and name.isascii() and name.isprintable()


def test_a_folder_is_read_and_its_links_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "data").mkdir(parents=True)
    (folder / "dmt.yaml").write_bytes(YAML)
    (folder / "data/x.jsonl").write_bytes(b"{}")
    (folder / ".git").mkdir()
    (folder / "run.sh").write_bytes(b"rm")
    found = from_folder(folder)
    assert found.files == {"dmt.yaml": YAML, "data/x.jsonl": b"{}"}
    assert found.left_out == ("run.sh",)
    (tmp_path / "secret.yaml").write_bytes(b"key: 1")
    (folder / "more.yaml").symlink_to(tmp_path / "secret.yaml")
    assert "more.yaml is a link" in refusal(folder)
    (folder / "more.yaml").unlink()
    (folder / "up").symlink_to(tmp_path)
    assert "up is a link" in refusal(folder)
    (folder / "up").unlink()
    os.mkfifo(folder / "pipe.yaml")
    assert "pipe.yaml is no file" in refusal(folder)


def test_what_is_not_there_says_what_can_be_named() -> None:
    assert refusal("no/such").startswith("SOURCE: no folder or file no/such; name a folder")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("x.zip", b"hello", "x.zip: is neither a zip file nor a YAML (holds no keys); name a"),
        ("x.png", b"\x89PNG", "x.png: is neither a zip file nor a YAML (is not UTF-8 (byte 0))"),
        ("x", b"<html>a: b: c</html>", "x: is neither a zip file nor a YAML (line 1: "),
        ("x.yaml", b"", "x.yaml: holds no keys"),
        ("x.yml", b"a: [1", "x.yml: line 1: expected"),
    ],
)
def test_a_file_of_another_kind_is_told_what_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(data)
    assert refusal(name).startswith(said)


def test_files_are_written_to_a_new_folder_and_never_over_others(tmp_path: Path) -> None:
    save_files({"dmt.yaml": YAML, "data/x.jsonl": b"{}"}, tmp_path / "new")
    assert (tmp_path / "new/data/x.jsonl").read_bytes() == b"{}"
    with pytest.raises(DMTError, match="is not empty"):
        save_files({"dmt.yaml": b"other"}, tmp_path / "new")
    assert (tmp_path / "new/dmt.yaml").read_bytes() == YAML
    with pytest.raises(DMTError, match="cannot be written"):
        save_files({"dmt.yaml": b"other"}, tmp_path / "new/dmt.yaml")


class _Site(BaseHTTPRequestHandler):
    zip = packed(("dmt.yaml", YAML))

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        try:
            if self.path == "/endless":
                while True:
                    self.wfile.write(b"0" * 2**16)
            elif self.path == "/slow":
                for _ in range(200):
                    self.wfile.write(b"0")
                    self.wfile.flush()
                    threading.Event().wait(0.05)
            else:
                self.wfile.write(self.zip if self.path.endswith(".zip") else YAML)
        except OSError:
            pass  # the client has had enough

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An https site with a certificate that this process trusts."""
    folder = tmp_path_factory.mktemp("site")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    try:
        subprocess.run(
            [*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("localhost", 0), _Site)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificate))
        patch.setenv("no_proxy", "localhost")
        yield f"https://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_zip_and_a_yaml_are_fetched_over_https(site: str) -> None:
    assert load(f"{site}/my-recipe.zip").files == {"dmt.yaml": YAML}
    assert load(f"{site}/my-recipe.zip").name == "my-recipe"
    assert load(f"{site}/to/{site}/a.yaml").files == {"dmt.yaml": YAML}


def test_plain_http_is_refused_and_so_is_a_redirect_to_it(site: str) -> None:
    plain = site.replace("https", "http")
    assert refusal(f"{plain}/a.zip").startswith(f"SOURCE: {plain}/a.zip is not https")
    assert "which is not https" in refusal(f"{site}/to/{plain}/a.zip")
    for other in ("file:///etc/passwd", "ftp://localhost/x", "data:,x"):
        said = refusal(f"{site}/to/{other}")
        assert "which is not https" in said or "is not allowed" in said
    for other in ("file:///etc/passwd", "ftp://localhost/x", "HTTP://localhost"):
        assert "is not https" in refusal(other)


def test_endless_slow_and_missing_answers_end(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is larger than 10 MiB" in refusal(f"{site}/endless")
    assert "cannot be fetched" in refusal(f"{site}/missing")
    loop = functools.reduce(lambda at, _: f"{site}/to/{at}", range(9), f"{site}/a.yaml")
    assert "cannot be fetched" in refusal(loop)
    monkeypatch.setattr(recipe_source, "DOWNLOAD_SECONDS", 0.2)
    assert "took more than" in refusal(f"{site}/slow")


def test_an_untrusted_certificate_and_a_dead_port_are_told_in_one_line(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "cannot be fetched" in refusal(f"{site}/a.yaml")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    with pytest.raises(DMTError, match="cannot be fetched"):
        download(f"https://localhost:{port}/a.yaml")


@pytest.mark.parametrize(
    "source", ["hf://", "hf://one", "hf://a/b/c", "hf://a/../b", "hf://a/b@x y"]
)
def test_a_name_that_is_none_on_the_hub_is_refused(source: str) -> None:
    assert "names no repository" in refusal(source)
