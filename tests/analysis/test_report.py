"""The report on made-up studies: what it says, and that every shape of study gives one."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from axolotl_dmt.analysis.overview import ratio_lines
from axolotl_dmt.analysis.report import write_study_report
from axolotl_dmt.analysis.treatments import CellResult, group
from axolotl_dmt.report import paper
from tests import planted
from tests.report.test_report import NASTY, Tags

FULL = planted.study(conflict=0.1)


def subset(results: list[CellResult]) -> list[CellResult]:
    """Return results of all strategies, but with two values of k and fewer amounts."""
    return [
        o
        for o in results
        if o.settings.get("k", "0") in ("0", "1/16") and o.settings.get("amount", "1") != "1/16"
    ]


BASIC = [o for o in FULL if o.settings["strategy"] in ("mixed_sequential", "sequential")]


def report(results: list[CellResult], folder: Path, **options: object) -> dict[str, str]:
    """Write the report and return its `contents`."""
    page = write_study_report(results, folder, title="A study", **options)  # type: ignore[arg-type]
    assert page == folder / "study.html"
    return contents(folder)


def contents(folder: Path) -> dict[str, str]:
    """Return {file name: its text, or the first bytes of a picture}."""
    return {
        path.name: path.read_bytes()[:4].decode("latin-1")
        if path.suffix == ".png"
        else path.read_text(encoding="utf-8")
        for path in folder.iterdir()
    }


def words(html: str) -> str:
    """Return the text of a page without tags, with single spaces."""
    return " ".join(" ".join(Tags(html).text).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report of the whole study."""
    folder = tmp_path_factory.mktemp("study") / "deep" / "report"
    notes = ["Cell x failed."]
    report(FULL, folder, notes=notes, k=Fraction(1, 16), base_model="meta-llama/Llama-2-7b-hf")
    return folder


def test_a_whole_study_is_reported_in_words_pictures_and_numbers(folder: Path) -> None:
    files = contents(folder)
    assert sorted(name for name in files if name.endswith(".png")) == [
        "study_ability_by_stage.png",
        "study_heat_map.png",
        "study_k_tradeoff.png",
        "study_scaling.png",
    ]
    assert all(files[name] == "\x89PNG" for name in files if name.endswith(".png"))
    for text in (files["study.md"], words(files["study.html"])):
        assert "shown: a, b, c, d, e, f, g" in text
        assert "Cell x failed." in text
        assert "dmt, k = 1/16" in text and "mixed sequential" in text
    page = Tags(files["study.html"])
    assert page.open == [] and "script" not in page.seen
    assert all(load.startswith("data:") for load in page.loads)
    assert "default-src 'none'" in files["study.html"]
    assert not re.search(r"(?<!-)\b(nan|inf)\b|Undefined|None", words(files["study.html"]))


def test_the_study_says_what_its_words_mean_before_it_judges(folder: Path) -> None:
    files = contents(folder)
    for text in (files["study.md"], words(files["study.html"])):
        text = " ".join(text.split())
        places = [
            text.index(part) for part in ("A treatment is", "A claim is shown if", "shown: a")
        ]
        assert places == sorted(places)


def test_a_study_without_scores_has_no_table_of_them(tmp_path: Path) -> None:
    text = report(SHAPES["nothing scored"], tmp_path)["study.md"]
    assert "No ability was scored." in text and "| treatment" not in text


def test_each_ability_has_one_colour_in_all_pictures_of_a_study(folder: Path) -> None:
    page = contents(folder)["study.html"]
    drawings = re.findall(r'<svg class="chart desk".*?</svg>', page, re.DOTALL)
    captions = re.findall(r"<figcaption>(\w+)", page)
    used = dict(zip(captions, (set(re.findall(r"--c\d+", d)) for d in drawings), strict=True))
    ours = {"--c1", "--c2", "--c3"}
    assert used == {"Score": ours, "Specialised": set(), "Each": ours, "Mean": set()}


def test_a_planted_null_is_reported_as_not_shown(tmp_path: Path) -> None:
    null = [o for o in planted.study(forgetting=0.0) if "amount" not in o.settings]
    files = report(
        [o for o in null if "k" not in o.settings or o.settings["k"] == "1/16"], tmp_path
    )
    assert "not shown: a, b, f" in files["study.md"]
    assert re.search(r"\(f\) Sequential .* \*\*not shown\*\*", files["study.md"])


def test_claims_that_a_study_has_no_runs_for_are_named_without_tables(tmp_path: Path) -> None:
    files = report(BASIC, tmp_path)  # mixed sequential and sequential training
    for name in ("study.md", "study.html"):
        assert "This study lacks runs that claims (a), (b), (c), (d), " in files[name]
        assert "As k grows" not in files[name]
    assert "### (f)" in files["study.md"] and "### (a)" not in files["study.md"]


def test_the_main_table_gives_mean_interval_and_seeds(tmp_path: Path) -> None:
    text = report(BASIC, tmp_path)["study.md"]
    table = next(b for b in text.split("\n\n") if b.startswith("| treatment"))
    row = next(line for line in table.splitlines() if line.startswith("| sequential"))
    assert re.fullmatch(r"\| sequential (\| 0\.\d{3} \\\[-?0\.\d{3}, 0\.\d{3}\] ){3}\| 5 \|", row)


def test_the_numbers_are_all_in_the_files(folder: Path) -> None:
    data = json.loads((folder / "study_results.json").read_text())
    (comparison,) = data["comparisons"]
    assert [claim["key"] for claim in comparison["claims"]] == list("abcdefgij")
    assert {c["ability"] for c in comparison["scaling"]} == {"math", "code", "general"}
    for crossing in comparison["crossings"].values():
        assert crossing["amount"] == pytest.approx(1 / 16, rel=0.9)
    with (folder / "study_results.csv").open() as file:
        rows = list(csv.DictReader(file))
    measured = [r for r in rows if r["measure"] == "score" and r["seed"]]
    assert len(measured) == sum(len(s.scores) for o in FULL for s in o.stages)
    sample = FULL[0].stages[-1].scores["math"]
    assert any(
        r["cell"] == FULL[0].name and r["ability"] == "math" and float(r["value"]) == sample
        for r in measured
    )
    assert {r["measure"] for r in rows} == {
        "score",
        "retention",
        "forgetting",
        "backward_transfer",
        "difference",
        "conflict",
    }


NAN = float("nan")
ONE = [("a", {"math": 1.0}, {"math": 0.5})]
SHAPES: dict[str, list[CellResult]] = {
    "no cell": [],
    "one cell": FULL[:1],
    "one seed": [o for o in subset(FULL) if o.seed == 0],
    "two seeds": [o for o in BASIC if o.seed < 2],
    "no axis at all": [replace(FULL[0], settings={})],
    "nothing scored": [
        replace(o, stages=tuple(replace(s, scores={}) for s in o.stages)) for o in BASIC
    ],
    "all scores missing": [
        replace(o, stages=tuple(replace(s, scores={"math": NAN}) for s in o.stages)) for o in BASIC
    ],
    "no stages": [replace(o, stages=()) for o in BASIC],
    "an automatic k": [
        planted.cell_result({"strategy": "dmt", "k": "auto"}, s, ONE) for s in (0, 1)
    ],
    "amounts by domain": [
        planted.cell_result({"strategy": "multi_task", "amount": {"math": amount}}, 0, ONE)
        for amount in ("1/4", "1")
    ],
    "nasty names": [
        planted.cell_result({NASTY: NASTY, "strategy": NASTY}, s, [(NASTY, {}, {NASTY: 0.5})])
        for s in range(2)
    ],
    "judged from 1 to 10": [
        replace(
            o,
            stages=tuple(
                replace(s, scores={**s.scores, "general": 1 + 8 * s.scores["general"]})
                for s in o.stages
            ),
        )
        for o in BASIC
    ],
}


@pytest.mark.parametrize("results", SHAPES.values(), ids=SHAPES)
def test_every_shape_of_study_gives_a_whole_report(
    results: list[CellResult], tmp_path: Path
) -> None:
    files = report(results, tmp_path, notes=[NASTY])
    page = Tags(files["study.html"])
    assert page.open == [] and "script" not in page.seen
    assert not re.search(r"(?<!-)\b(nan|inf)\b|Undefined", words(files["study.html"]))
    assert json.loads(files["study_results.json"])["title"] == "A study"
    for block in files["study.md"].split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1


def test_a_study_of_ratios_is_drawn_by_the_amount_of_each_domain(tmp_path: Path) -> None:
    results = []
    for general, special in [*(("1", a) for a in planted.AMOUNTS), ("1/64", "1"), ("1/4", "1")]:
        score = planted.learned(float(Fraction(special)))
        stages = [("multi_task", {"math": 1.0}, {"math": score, "general": 0.5})]
        amounts = {"amount.general": general, "amount.special": special}
        settings = {"strategy": "multi_task", **amounts}
        results += [planted.cell_result(settings, seed, stages) for seed in range(3)]
    lines = ratio_lines(group(results))
    assert {axis: list(by_fixed) for axis, by_fixed in lines.items()} == {
        "general": ["special 1"],
        "special": ["general 1"],
    }
    points = [amount for amount, _ in lines["special"]["general 1"]]
    assert points == sorted(map(Fraction, planted.AMOUNTS))
    files = report(results, tmp_path)
    assert "study_ratio.png" in files
    assert "| multi task, 1/64 of general, 1 of special |" in files["study.md"]
    assert "Variants" not in files["study.md"]


def test_variants_are_compared_with_the_first_of_the_same_treatment(tmp_path: Path) -> None:
    def variant(result: CellResult) -> CellResult:
        last = result.stages[-1]
        scores = {ability: value + 0.1 for ability, value in last.scores.items()}
        settings = {**result.settings, "variant": "hardest"}
        stages = (*result.stages[:-1], replace(last, scores=scores))
        return replace(result, name=f"{result.name}-v", settings=settings, stages=stages)

    dmt = [o for o in FULL if o.settings.get("k") == "1/16"]
    files = report([*dmt, *map(variant, dmt)], tmp_path)
    rows = [x for x in files["study.md"].splitlines() if x.startswith("| dmt, k = 1/16, variant")]
    assert re.search(r"= hardest \| dmt, k = 1/16 \| \+0\.100 .* p 0\.062", "\n".join(rows))


def test_pictures_of_an_earlier_report_are_removed(tmp_path: Path) -> None:
    (tmp_path / "study_k_tradeoff.png").write_bytes(b"old")
    (tmp_path / "mine.png").write_bytes(b"mine")
    files = report(BASIC, tmp_path)
    assert "study_k_tradeoff.png" not in files and "mine.png" in files


def test_the_paper_is_quoted_only_for_models_that_it_used(folder: Path, tmp_path: Path) -> None:
    toy = report(BASIC, tmp_path, base_model="toy/llama")
    for files, quoted in ((contents(folder), True), (toy, False)):
        for text in (files["study.md"], words(files["study.html"])):
            assert ("quoted from the paper" in text) == quoted
        assert ("Dashed grey" in files["study.md"]) == quoted


def test_the_paper_is_quoted_in_the_scale_of_the_study_or_not_at_all() -> None:
    rows, scores = zip(*paper.quoted_curve("7B", "single", "math", 1.0), strict=True)
    assert rows == pytest.approx([110_142 * a for a in sorted(paper.AMOUNTS)])
    assert scores == pytest.approx((0.1270, 0.2271, 0.3590, 0.4337, 0.4910))
    assert paper.quoted_curve("7B", "single", "general", 1.0) == []
    assert paper.quoted_curve("7B", "single", "general", 10.0)[-1][1] == 5.88
    assert paper.quoted_curve("13B", "multi_task", "math", 1.0) == []
    assert paper.quoted_k_sweep("7B", {"math": 1.0, "general": 1.0}) == []
    sweep = paper.quoted_k_sweep("7B", {"math": 1.0, "code": 1.0, "general": 10.0})
    assert sweep[0] == ("0", pytest.approx({"math": 0.326, "code": 0.1524, "general": 6.02}))
    assert dict(paper._BY_SIZE["7B"])["DMT, k = 1/256"] == paper._BY_K["7B"][1][1]


def test_importing_the_report_loads_no_heavy_package() -> None:
    code = (
        "import sys, axolotl_dmt.analysis.report; print({'torch', 'axolotl', 'transformers', "
        "'matplotlib', 'jinja2', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
