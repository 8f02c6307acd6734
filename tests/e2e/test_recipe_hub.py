"""`axolotl dmt recipe push` and `use hf://...`, with the hub's own client and a fake hub."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from axolotl_dmt.recipes.recipe import save_files
from tests.e2e.runs import environment
from tests.fake_hub import FakeHub
from tests.mistakes import assert_mistake
from tests.recipes.test_recipe import valid

CARD = b"---\nlicense: mit\n---\n# mine\n"


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    yield hub
    hub.close()


def recipe(hub: FakeHub, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = "from axolotl_dmt.cli.main import dmt; dmt()"
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_of_a_test",
        "HF_HOME": str(folder / "cache"),
        "no_proxy": "127.0.0.1",
    }
    return subprocess.run(
        [sys.executable, "-c", script, "recipe", *arguments],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_recipe_is_pushed_whole_and_used_by_another(hub: FakeHub, tmp_path: Path) -> None:
    files = {**valid(), "README.md": CARD, "notes/more.md": b"more"}
    save_files(files, tmp_path / "mine")
    (tmp_path / "mine/train.py").write_text("print()")
    (tmp_path / "mine/.env").write_text("KEY=1")
    pushed = recipe(hub, tmp_path, "push", "mine", "me/mine")
    assert pushed.returncode == 0, pushed.stderr
    assert f"{hub.url}/me/mine/commit/" in pushed.stdout
    assert hub.repositories["me/mine"] == files
    hub.repositories["me/mine"][".gitattributes"] = b"x"
    hub.repositories["me/mine"]["weights.bin"] = b"0" * 100
    used = recipe(hub, tmp_path, "use", "hf://me/mine", "--to", "new")
    assert used.returncode == 0, used.stderr
    made = {p.relative_to(tmp_path / "new").as_posix(): p for p in (tmp_path / "new").rglob("*.*")}
    assert {name: path.read_bytes() for name, path in made.items()} == files
    assert "left out: 'weights.bin'" in used.stdout
    assert not any("weights.bin" in path for path in hub.asked)


def test_what_does_not_fit_is_refused_before_it_is_fetched(hub: FakeHub, tmp_path: Path) -> None:
    hub.repositories["evil/big"] = {**valid(), "data.jsonl": b"x"}
    hub.sizes["data.jsonl"] = 10**12
    big = recipe(hub, tmp_path, "use", "hf://evil/big")
    assert (big.returncode, "'data.jsonl'" in big.stderr) == (2, True)
    hub.repositories["evil/up"] = {**valid(), "../up.yaml": b"x"}
    up = recipe(hub, tmp_path, "use", "hf://evil/up")
    assert (up.returncode, "'../up.yaml'" in up.stderr) == (2, True)
    none = recipe(hub, tmp_path, "use", "hf://me/none")
    assert (none.returncode, len(none.stderr.splitlines())) == (2, 1)
    assert "Traceback" not in big.stderr + up.stderr + none.stderr


def test_a_recipe_with_a_secret_or_without_a_card_is_not_pushed(
    hub: FakeHub, tmp_path: Path
) -> None:
    save_files({**valid(optim_args="hf_" + "a" * 34), "README.md": CARD}, tmp_path / "secret")
    secret = recipe(hub, tmp_path, "push", "secret", "me/secret")
    assert (secret.returncode, "me/secret" in hub.repositories) == (2, False)
    assert_mistake(secret.stderr.strip(), "axolotl-dmt: optim_args", "secret")
    leaking = {**valid(), "README.md": CARD + b"curl -H 'Bearer hf_" + b"a" * 34 + b"'"}
    save_files(leaking, tmp_path / "leaking")
    message = recipe(hub, tmp_path, "push", "leaking", "me/secret").stderr.strip()
    assert_mistake(message, "axolotl-dmt: README.md", "secret")
    save_files(valid(), tmp_path / "bare")
    message = recipe(hub, tmp_path, "push", "bare", "me/bare").stderr.strip()
    assert_mistake(message, "axolotl-dmt: SOURCE", "README.md")
    message = recipe(hub, tmp_path, "push", "bare", "bare").stderr.strip()
    assert_mistake(message, "axolotl-dmt: REPOSITORY", "'bare'")
