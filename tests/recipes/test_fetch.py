"""Files by an unknown author are refused unless they are small and plainly named."""

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

from axolotl_dmt.errors import DMTError
from axolotl_dmt.recipes import fetch
from axolotl_dmt.recipes.fetch import check_name, download, from_bytes, from_folder, load
from axolotl_dmt.recipes.recipe import save_files
from tests.mistakes import assert_mistake, expect_error

YAML = b"base_model: x\n"


def packed(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def refusal(source: bytes | Path | str) -> str:
    with pytest.raises(DMTError) as caught:
        if isinstance(source, bytes):
            from_bytes(source, "recipe.zip")
        else:
            load(str(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_zip_refused(data: bytes, *values: object) -> None:
    assert_mistake(refusal(data), "recipe.zip", *values)


def test_a_zip_with_or_without_a_top_folder_is_read_without_unpacking() -> None:
    flat = packed(("dmt.yaml", YAML), ("data/x.jsonl", b"{}"), (".gitattributes", b""))
    assert from_bytes(flat, "a/b.zip").files == {"dmt.yaml": YAML, "data/x.jsonl": b"{}"}
    top = packed(("repo-main/", b""), ("repo-main/dmt.yaml", YAML), ("repo-main/x.py", b"1"))
    recipe = from_bytes(top, "https://host/user/My%20recipe.zip?x=1")
    assert (recipe.files, recipe.left_out) == ({"dmt.yaml": YAML}, ("repo-main/x.py",))
    assert recipe.name == "My-20recipe"


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
    shown = repr(name) if len(name) < 80 else repr(name)[:40]  # long values are cut
    assert_zip_refused(packed(("dmt.yaml", YAML), (name, b"x")), shown)


def test_a_name_with_a_nul_is_not_cut_short() -> None:
    data = packed(("evil.yaml#.py", b"x")).replace(b"#", b"\0")
    assert_zip_refused(data, repr("evil.yaml\0.py"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(kind: int) -> None:
    entry = zipfile.ZipInfo("dmt.yaml")
    entry.external_attr = (kind | 0o644) << 16
    assert_zip_refused(packed((entry, b"/etc/passwd")), "'dmt.yaml'", "link")


def test_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    big = b"0" * (fetch.LARGEST_FILE + 1)
    assert_zip_refused(packed(("a.json", big)), "'a.json'", "10 MiB")
    part = b"0" * (fetch.LARGEST_FILE - 1)
    assert_zip_refused(packed(*((f"{i}.json", part) for i in range(3))), "20 MiB")
    many = packed(*((f"{i}.json", b"") for i in range(fetch.MOST_FILES + 1)))
    assert_zip_refused(many, "200 files")
    junk = packed(*((f"{i}.py", b"") for i in range(fetch.MOST_FILES + 1)))
    assert_zip_refused(junk, "200 files")
    monkeypatch.setattr(fetch, "LARGEST_DOWNLOAD", 10)
    assert_zip_refused(packed(("a.json", b"x")), "MiB")


def test_a_wrong_declared_size_is_not_trusted() -> None:
    data = bytearray(packed(("a.json", b"0" * (fetch.LARGEST_FILE + 10))))
    at = data.rindex(b"PK\x01\x02") + 24  # the uncompressed size in the central directory
    data[at : at + 4] = struct.pack("<I", 100)
    assert refusal(bytes(data))  # cut off, then its checksum is wrong


def test_a_damaged_or_encrypted_zip_is_refused() -> None:
    good = packed(("dmt.yaml", YAML * 100))
    assert_zip_refused(b"PK\x03\x04" + b"junk" * 9, "zip file")
    assert_zip_refused(good[:-30], "zip file")
    damaged = bytearray(good)
    damaged[45] ^= 0xFF
    assert_zip_refused(bytes(damaged), "zip file")
    locked = bytearray(good)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + place] |= 1
    assert_zip_refused(bytes(locked), "zip file")


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
    assert_zip_refused(twice, "'dmt.yaml' twice")
    assert_zip_refused(packed(("dmt.yaml", YAML), ("DMT.yaml", b"x: 1")), "'DMT.yaml' twice")


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
    recipe = from_folder(folder)
    assert recipe.files == {"dmt.yaml": YAML, "data/x.jsonl": b"{}"}
    assert recipe.left_out == ("run.sh",)
    (tmp_path / "secret.yaml").write_bytes(b"key: 1")
    (folder / "more.yaml").symlink_to(tmp_path / "secret.yaml")
    assert_mistake(refusal(folder), str(folder), "more.yaml", "link")
    (folder / "more.yaml").unlink()
    (folder / "up").symlink_to(tmp_path)
    assert_mistake(refusal(folder), str(folder), "up", "link")
    (folder / "up").unlink()
    os.link(tmp_path / "secret.yaml", folder / "hard.yaml")
    assert_mistake(refusal(folder), str(folder), "hard.yaml", "link")
    assert "hard.yaml" in from_folder(folder, hard_links=True).files
    (folder / "hard.yaml").unlink()
    os.mkfifo(folder / "pipe.yaml")
    assert_mistake(refusal(folder), str(folder), "pipe.yaml")


def test_a_missing_source_is_named_with_the_valid_kinds() -> None:
    assert_mistake(refusal("no/such"), "SOURCE", "no/such", "a folder", "axolotl dmt recipe list")


@pytest.mark.parametrize(
    ("name", "data", "value"),
    [
        ("x.zip", b"hello", "neither a zip file nor a YAML"),
        ("x.png", b"\x89PNG", "UTF-8"),
        ("x", b"<html>a: b: c</html>", "line 1"),
        ("x.yaml", b"", ""),
        ("x.yml", b"a: [1", "line 1"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(data)
    assert_mistake(refusal(name), name, value)


def test_files_are_written_to_a_new_folder_and_never_over_others(tmp_path: Path) -> None:
    save_files({"dmt.yaml": YAML, "data/x.jsonl": b"{}"}, tmp_path / "new")
    assert (tmp_path / "new/data/x.jsonl").read_bytes() == b"{}"
    with expect_error("--to", tmp_path / "new"):
        save_files({"dmt.yaml": b"other"}, tmp_path / "new")
    assert (tmp_path / "new/dmt.yaml").read_bytes() == YAML
    with expect_error("--to", tmp_path / "new/dmt.yaml"):
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
    assert_mistake(refusal(f"{plain}/a.zip"), "SOURCE", f"{plain}/a.zip", "https")
    redirecting = f"{site}/to/{plain}/a.zip"
    assert_mistake(refusal(redirecting), redirecting, f"{plain}/a.zip", "https")
    for other in ("file:///etc/passwd", "ftp://localhost/x", "data:,x"):
        assert_mistake(refusal(f"{site}/to/{other}"), f"{site}/to/{other}")
    for other in ("file:///etc/passwd", "ftp://localhost/x", "HTTP://localhost"):
        assert_mistake(refusal(other), "SOURCE", other, "https")


def test_endless_slow_and_missing_answers_end(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_mistake(refusal(f"{site}/endless"), f"{site}/endless", "10 MiB")
    assert_mistake(refusal(f"{site}/missing"), f"{site}/missing", "404")
    loop = functools.reduce(lambda at, _: f"{site}/to/{at}", range(9), f"{site}/a.yaml")
    assert "https" in refusal(loop)
    monkeypatch.setattr(fetch, "DOWNLOAD_SECONDS", 0.2)
    assert_mistake(refusal(f"{site}/slow"), f"{site}/slow", "0.2 s")


def test_an_untrusted_certificate_and_a_closed_port_are_reported_in_one_line(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert_mistake(refusal(f"{site}/a.yaml"), f"{site}/a.yaml", "certificate")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    with expect_error(f"https://localhost:{port}/a.yaml", "refused"):
        download(f"https://localhost:{port}/a.yaml")


@pytest.mark.parametrize(
    "source", ["hf://", "hf://one", "hf://a/b/c", "hf://a/../b", "hf://a/b@x y"]
)
def test_an_invalid_repository_name_is_refused(source: str) -> None:
    assert_mistake(refusal(source), "SOURCE", source)
