"""Runs side by side, what they cost, and the section in the model card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from axolotl_dmt.cli.main import dmt
from axolotl_dmt.report.compare import differences, load_runs, tables
from axolotl_dmt.report.model_card import END, START, update_card, with_section
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.results import HARDWARE, Results, Sample, Score, StageResult
from axolotl_dmt.results.costs import stage_costs, total_costs
from tests.mistakes import assert_mistake


def stage(name: str, end: int, **scores: float) -> StageResult:
    return StageResult(
        name=name,
        end_step=end,
        rows={"math": 10},
        samples=(Sample(ability="math", prompt="1+1?", answer=name),),
        scores={
            ability: Score(task=f"dmt_{ability}", metric="m", value=value, stderr=0.02, n=100)
            for ability, value in scores.items()
        },
    )


def results(math: float = 0.75, **changes: Any) -> Results:
    def domains(tokens: int) -> dict[str, Any]:
        return {"math": {"rows": 9, "draws": 9, "tokens": tokens, "trained_tokens": tokens // 2}}

    made = Results(
        plan_fingerprint="f",
        stages=(stage("one", 10, math=0.9), stage("two", 25, math=math, chat=0.5)),
        timings={"train one": 100.0, "train two": 50.0, "evaluate two": 7.0},
        settings={"base_model": "org/m", "learning_rate": 1e-3},
        plan={
            "stages": [
                {"name": "one", "domains": domains(2000)},
                {"name": "two", "domains": domains(600)},
            ]
        },
        extra={HARDWARE: {"gpu": "2 x H100"}},
    )
    return replace(made, **changes)


def save(folder: Path, made: Results, block: dict[str, Any] | None = None) -> Path:
    made.save(folder / "dmt" / "results.json")
    if block:
        (folder / "dmt" / "config.yaml").write_text(yaml.safe_dump({"dmt": block}))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    other = results(0.85, settings={"base_model": "org/m", "learning_rate": 2e-3})
    return [
        save(tmp_path / "none", results(), {"strategy": "dmt", "k": 0}),
        save(tmp_path / "some<b>", other, {"strategy": "dmt", "k": "1/16"}),
    ]


def test_runs_stand_side_by_side_against_the_first(runs: list[Path]) -> None:
    scores, retention, cost, _ = tables(load_runs(runs))
    assert scores.header == ("run", "math", "chat")
    assert scores.rows[0] == ("none", "0.750 ± 0.020", "0.500 ± 0.020")
    assert scores.rows[1] == ("some<b>", "0.850 ± 0.020 (+0.100)", "0.500 ± 0.020 (+0.000)")
    assert retention.rows == (("none", "83.3%", "–"), ("some<b>", "94.4%", "–"))
    assert cost.rows[0] == ("none", "2", "25", "2,600", "1,300", "2 min 30 s", "7.0 s")


def test_only_the_settings_that_differ_are_listed(runs: list[Path]) -> None:
    assert differences(load_runs(runs)) == (
        ("learning_rate", "0.001", "0.002"),
        ("dmt.k", "0", "1/16"),
    )


def test_the_command_writes_markdown_with_its_picture_and_one_page(
    runs: list[Path], tmp_path: Path
) -> None:
    markdown, html = tmp_path / "c d.md", tmp_path / "c.html"
    arguments = [*map(str, runs), "--markdown", str(markdown), "--html", str(html)]
    done = CliRunner().invoke(dmt, ["compare", *arguments])
    assert done.exit_code == 0, done.output
    assert "0.850 ± 0.020" in done.output
    assert "](c%20d-abilities.png)" in markdown.read_text()
    assert (tmp_path / "c d-abilities.png").read_bytes().startswith(b"\x89PNG")
    page = html.read_text()
    assert "some&lt;b&gt;" in page and "<b>some<b>" not in page
    assert "http://" not in page and "https://" not in page


def test_one_run_alone_is_refused_in_one_line(runs: list[Path]) -> None:
    done = CliRunner().invoke(dmt, ["compare", str(runs[0])])
    assert done.exit_code == 2
    assert_mistake(done.output.strip(), "axolotl-dmt: RUN")


def test_a_run_is_not_compared_with_itself(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(runs[0])
    for first, again in (
        ("none", "none"),
        ("none", "none/"),
        ("none", "./none"),
        ("none", str(tmp_path / "none")),
        ("none/dmt/..", "link"),
    ):
        done = CliRunner().invoke(dmt, ["compare", first, str(runs[1]), again])
        assert done.exit_code == 2
        assert_mistake(done.output.strip(), "axolotl-dmt: RUN", Path(again), "once")
    assert len(load_runs([tmp_path / "none", runs[1]])) == 2


def test_a_folder_without_results_is_named(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(dmt, ["compare", str(runs[0]), str(tmp_path / "empty")])
    assert done.exit_code == 2
    assert_mistake(done.output.strip(), "axolotl-dmt: OUTPUT_DIR", tmp_path / "empty")


def test_costs_are_by_stage_and_unknown_where_a_part_is() -> None:
    one, two = stage_costs(results())
    assert (one.tokens, one.trained_tokens, one.tokens_per_second) == (2000, 1000, 20.0)
    assert two.scoring == 7.0
    assert total_costs(results()).training == 150.0
    resumed = results(timings={"train two": 50.0})
    assert total_costs(resumed).training is None
    assert total_costs(results(plan=None)).tokens is None


def test_the_report_shows_hardware_tokens_and_answers_side_by_side(tmp_path: Path) -> None:
    folder = save(tmp_path / "run", results())
    assert CliRunner().invoke(dmt, ["report", str(folder)]).exit_code == 0
    page = (folder / "dmt" / "report.html").read_text()
    assert "2 x H100" in page
    assert "<td>2,600</td>" in page
    answers = page.index("<span>one</span>"), page.index("<span>two</span>")
    assert page.count("<pre>1+1?</pre>") == 1, "one prompt, its answers beside each other"
    assert answers[0] < answers[1]


def test_the_model_card_has_one_section_that_later_reports_replace(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\ntags: []\n---\n\nWritten by the trainer.\n")
    update_card(ReportView.of(results()), tmp_path)
    first = card.read_text()
    card.write_text(first + "\nMy own words.\n")
    update_card(ReportView.of(results(0.9)), tmp_path)
    text = card.read_text()
    assert text.startswith("---\ntags: []\n---\n\nWritten by the trainer.\n\n" + START)
    assert text.count(START) == text.count(END) == 1
    assert "0.750" in first and "0.750" not in text
    assert text.endswith("My own words.\n")


def test_the_yaml_in_the_model_card_loses_its_secrets(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    yaml = "base_model: org/model  # mine\nhub_token: orange-river-4\n"
    yaml += "# wandb_api_key: orange-river-4\n"
    # As `setup_model_card` of Axolotl writes it.
    card.write_text(
        f"# Model\n<details><summary>See axolotl config</summary>\n\naxolotl version: `0.19.0`\n"
        f"```yaml\n{yaml}\n```\n\n</details><br>\n\nTrained on https://me:orange-river-4@host/x.\n"
    )
    update_card(ReportView.of(results()), tmp_path)
    text = card.read_text()
    assert "orange-river-4" not in text
    assert 'base_model: org/model  # mine\nhub_token: "***"\n# wandb_api_key: ***\n' in text
    assert "Trained on https://host/x." in text


def test_a_folder_without_a_card_gets_none(tmp_path: Path) -> None:
    update_card(ReportView.of(results()), tmp_path)
    assert not (tmp_path / "README.md").exists()


def test_a_card_whose_end_mark_was_deleted_keeps_its_text() -> None:
    card = with_section(f"Before\n{START}\nmine", "new")
    assert "mine" in card
    assert card.count(END) == 1
