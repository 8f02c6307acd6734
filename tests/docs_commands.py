"""The commands that README.md and the pages of docs/ tell a reader to type, word for word."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from axolotl_dmt.cli.main import dmt
from tests.e2e.runs import environment

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/tutorial.md", "docs/faq.md", "docs/json_schema.md")
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PROGRAMS = (
    "axolotl ",
    "axolotl-dmt ",
    "DATA=",
    "lm_eval",
    "make",
    "pip",
    "python",
    "sed",
    "source",
)
"""What the first line of a block of commands starts with; other blocks show outputs."""


def pages() -> list[str]:
    """Return the paths of the pages whose commands are tested."""
    howtos = sorted((ROOT / "docs/howto").glob("*.md"))
    return [*PAGES, *(str(path.relative_to(ROOT)) for path in howtos)]


def blocks(page: str) -> list[str]:
    """Return the code blocks of a page that have no language, or the shell's."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
        for indent, kind, body in FENCE.findall(text)
        if kind in ("", "bash")
    ]


def commands() -> list[str]:
    """Return each command once, on one line and without its comment."""
    lines = []
    for page in pages():
        for block in blocks(page):
            if block.startswith("DATA="):
                lines.append(block.strip())  # a variable, and the command that reads it
            elif block.startswith(PROGRAMS):
                joined = re.sub(r"\\\n\s*", "", block)
                lines += [re.sub(r"\s+# .*", "", line).strip() for line in joined.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))


def output_after(command: str) -> str:
    """Return the block of output that follows the block with a command."""
    for page in pages():
        found = blocks(page)
        for block, following in itertools.pairwise(found):
            if command in re.sub(r"\\\n\s*", "", block):
                return following
    raise ValueError(f"no output follows {command}")


def clone(folder: Path) -> Path:
    """Fill a folder with links to what a clone of the repository has, and return it."""
    for name in ("Makefile", "eval_tasks", "pyproject.toml", "yaml_templates"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def run(command: str, typed: str | None = None) -> str:
    """Run a command in the current folder, and return its output.

    `axolotl dmt ...` and `axolotl-dmt ...` run in this process, which has imported Axolotl already.

    Args:
        command: the command.
        typed: what is typed at the command's questions.
    """
    words = shlex.split(command)
    if words[:2] == ["axolotl", "dmt"]:
        words = ["axolotl-dmt", *words[2:]]
    if words[0] == "axolotl-dmt" and ">" not in words:
        done = CliRunner().invoke(dmt, words[1:], input=typed)
        ended = done.exception is None or isinstance(done.exception, SystemExit)
        assert ended, f"{command}\n{done.output}\n{done.exception!r}"
        return done.output
    process = subprocess.run(
        ["bash", "-c", command],
        env={**environment(), "HF_HOME": str(Path("hub").absolute())},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, f"{command}\n{process.stdout[-2000:]}{process.stderr[-4000:]}"
    return process.stdout + process.stderr
