"""A study of several base models shows each ability by model and amount of data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from axolotl_dmt.analysis.comparisons import comparisons
from axolotl_dmt.analysis.model_sizes import sizes_picture, sizes_table
from axolotl_dmt.analysis.report import write_study_report
from axolotl_dmt.analysis.treatments import CellResult, group
from tests import planted


def of_models(*names: str) -> list[CellResult]:
    """Return single-domain results of models, each with a learning rate of its own."""
    return [
        replace(result, settings={**result.settings, "learning_rate": 1e-3 / (index + 1)})
        for index, name in enumerate(names)
        for result in planted.of_base_model(name, 0.1 * index)
    ]


def test_each_ability_has_a_row_for_each_amount_of_its_own_data() -> None:
    compared = comparisons(group(of_models("small", "large")), ["general"])
    table = sizes_table(compared)
    assert table.header == ("ability", "part of its data", "small", "large")
    assert [row[:2] for row in table.rows] == [
        (ability, str(amount))
        for ability in compared[0].abilities
        for amount in compared[0].amounts("single", ability)
    ]
    small, large = (float(cell.split()[0]) for cell in table.rows[0][2:])
    assert abs(large - small - 0.1) < 1e-3
    figure = sizes_picture(compared)[1](False)
    assert [axis.get_title(loc="left") for axis in figure.axes] == list(compared[0].abilities)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["small", "large"]


def test_the_report_of_three_models_shows_them_side_by_side(tmp_path: Path) -> None:
    write_study_report(of_models("s", "m", "l"), tmp_path, title="Sizes")
    assert (tmp_path / "study_sizes.png").is_file()
    text = (tmp_path / "study.md").read_text()
    assert "| ability | part of its data | s | m | l |" in text
    assert "base_model = l, learning_rate" in text
    assert "models/" not in text


def test_a_domain_with_less_data_than_the_others_is_in_the_main_table(tmp_path: Path) -> None:
    results = [
        r
        for r in planted.study()
        if r.settings["strategy"] == "single"
        and not (r.settings["domain"] == "code" and r.settings.get("amount", "1") == "1")
    ]
    write_study_report(results, tmp_path, title="Amounts")
    main = (tmp_path / "study.md").read_text().split("Numbers in brackets")[0]
    assert "| single code, " in main and "| single math, all data" in main
