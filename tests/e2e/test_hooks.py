"""A training with a file of hooks, in a terminal: what the hooks see, the bar, the model card."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from tests.e2e.runs import config, environment, train, write
from tests.mistakes import assert_mistake

HOOKS = """
from dataclasses import replace
from pathlib import Path

import numpy as np
from axolotl_dmt import hookimpl
from axolotl_dmt.hookspecs import Section


@hookimpl
def register_amounts():
    return {"at_most": lambda domain, value: min(domain.rows, int(value))}


@hookimpl
def register_orders():
    return {"short_first": lambda e: e.rows[np.argsort(e.lengths(e.rows), kind="stable")]}


@hookimpl
def adjust_stages(stages):
    with Path(__file__).with_name("adjusted.txt").open("a") as file:
        print(*(stage.name for stage in stages), file=file)
    return [replace(stage, weight_decay=0.01) for stage in stages]


def note(context, what):
    with (context.output_dir / "notes.txt").open("a") as file:
        saved = context.folder is not None and (context.folder / "model.safetensors").is_file()
        file.write(f"{what} {context.stage.name} {context.step} {saved}\\n")


@hookimpl
def stage_start(context):
    note(context, "start")


@hookimpl
def stage_end(context):
    note(context, "end")


@hookimpl
def report_sections(results):
    return [Section(title="Mine", markdown="**bold**")]
"""


def settings(toy: Path, folder: Path, hooks: str) -> dict:  # type: ignore[type-arg]
    (folder / "my_hooks.py").write_text(hooks)
    dmt = {
        "stages": [
            {"name": "one", "mix": {"math": {"at_most": 40}, "code": "all"}},
            {"name": "two", "mix": {"general": {"at_most": 16}}, "order": "short_first"},
        ],
        "hooks": [str(folder / "my_hooks.py")],
    }
    return config(toy, folder / "out", dmt=dmt, max_grad_norm=1.0)


@pytest.mark.long
def test_hooks_see_each_stage_and_the_bar_names_it(toy: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "dmt.yaml", settings(toy, tmp_path, HOOKS))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    seen = bytearray()

    def read() -> None:
        try:
            while chunk := os.read(ours, 1 << 16):
                seen.extend(chunk)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    command = [sys.executable, "-m", "axolotl.cli.main", "train", str(path), "--launcher", "python"]
    done = subprocess.run(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        check=False,
    )
    os.close(theirs)
    reader.join(timeout=30)
    screen = seen.decode(errors="replace")
    assert done.returncode == 0, done.stdout + screen
    assert (tmp_path / "out/notes.txt").read_text().splitlines() == [
        "start one 0 False",
        "end one 13 True",
        "start two 13 False",
        "end two 15 True",
    ]
    assert (tmp_path / "adjusted.txt").read_text() == "one two\n", "called once"
    assert "stage 1/2 one: " in screen
    assert "stage 2/2 two: 100%" in screen
    assert "<h2>Mine</h2>" in (tmp_path / "out/dmt/report.html").read_text()
    card = (tmp_path / "out/README.md").read_text()
    assert card.count("## Abilities by training stage") == 1
    assert "| two | 2 | 1 |" in card


@pytest.mark.slow
def test_a_hook_that_fails_ends_the_run_with_one_line_and_keeps_the_stage(
    toy: Path, tmp_path: Path
) -> None:
    done = train(tmp_path, settings(toy, tmp_path, HOOKS.replace('note(context, "end")', "1 / 0")))
    assert done.code == 2
    key = "axolotl-dmt: hook stage_end of my_hooks.py"
    (line,) = [line for line in done.output.splitlines() if line.startswith(key)]
    assert_mistake(line, key, "ZeroDivisionError", "my_hooks.py")
    assert "Traceback" not in done.output.split(line)[1]
    assert (done.folder / "stages/01-one/model.safetensors").is_file()
    assert "13/15" not in done.output, "no bar without a terminal"
