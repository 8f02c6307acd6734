"""Known noise of other libraries is dropped, and nothing else."""

from __future__ import annotations

import importlib.util
import logging
import sys
import warnings
from pathlib import Path

import pytest

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.console import (
    KNOWN_LOGS,
    KNOWN_WARNINGS,
    bars_where_wanted,
    quiet_axolotl,
    silence_known_noise,
)
from axolotl_dmt.evaluation.tasks import Tasks


def test_only_known_noise_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        silence_known_noise()
        for message in (*KNOWN_WARNINGS, "You are importing something else"):
            warnings.warn(f"{message} x", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["You are importing something else x"]
    for message in ("mine: Custom kwargs can be passed to `--metadata`", "another warning"):
        logging.getLogger("lm_eval.api.task").warning(message)
    assert caplog.messages == ["another warning"]


@pytest.mark.parametrize(
    ("package", "known"),
    zip(
        ("kernels", "trl", "lm_eval.api", "torchao", "torch.utils"),
        (*KNOWN_WARNINGS, *KNOWN_LOGS.values()),
        strict=True,
    ),
)
def test_the_libraries_still_contain_the_known_messages(package: str, known: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    files = Path(spec.origin).parent.rglob("*.py")
    assert any(known in file.read_text(encoding="utf-8") for file in files)


def test_lm_eval_does_not_explain_how_to_pass_settings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.scripted_lm import ScriptedLM

    file = tmp_path / "math.jsonl"
    file.write_text('{"question": "1+1?", "answer": "#### 2"}\n')
    config = EvaluateConfig(tasks=["dmt_math"], data={"math": str(file)}, prompt="plain")
    output = Tasks(config).evaluate(ScriptedLM(lambda _: "2"))
    assert output is not None
    assert "dmt_math" in output["results"]
    assert "Custom kwargs" not in caplog.text


def test_a_long_evaluation_logs_each_tenth_where_no_terminal_shows_its_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tqdm import tqdm

    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    title = "Running generate_until requests"
    with bars_where_wanted():
        for age in (100, 100, 0):  # the last one is over in no time
            bar = tqdm(range(40), desc=title, mininterval=0, miniters=1)
            bar.start_t -= age
            for _ in bar:
                pass
        for _ in tqdm(range(40), desc="Another bar", mininterval=0, miniters=1):
            pass
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        f"{title}: {done} of 40" for done in range(4, 41, 4)
    ] * 2


@pytest.mark.parametrize(
    ("silent", "err", "logged"), [(False, "printed\n", ["an error"]), (True, "", [])]
)
def test_what_axolotl_prints_is_kept_out_of_standard_output(
    silent: bool,
    err: str,
    logged: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    before, log = (sys.stdout, logging.root.manager.disable), logging.getLogger("axolotl")
    with pytest.raises(KeyError), quiet_axolotl(silent=silent):
        print("printed")
        log.warning("advice")
        log.error("an error")
        raise KeyError
    assert (sys.stdout, logging.root.manager.disable) == before
    output = capsys.readouterr()
    assert (output.out, output.err, caplog.messages) == ("", err, logged)
