"""Reports show the right numbers for any shape of run, and escape what a model wrote."""

from __future__ import annotations

import io
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from axolotl_dmt.chart_style import COLOURS, colours_of, css_variable, new_figure, spread
from axolotl_dmt.report import charts as report_charts
from axolotl_dmt.report import format as report_format
from axolotl_dmt.report import paper
from axolotl_dmt.report.markdown import scores_table
from axolotl_dmt.report.model_card import section
from axolotl_dmt.report.terminal import terminal_table
from axolotl_dmt.report.view import ReportView
from axolotl_dmt.report.write import write_report
from axolotl_dmt.results import Results, Sample, Score, StageResult

NASTY = "<script>alert('x')</script> | [red]*b* `c`\n\x07$1$"


def score(value: float, n: int = 200, task: str = "dmt_math") -> Score:
    stderr = math.sqrt(value * (1 - value) / n) if value <= 1 else 0.1
    return Score(task=task, metric="dmt_score", value=value, stderr=stderr, n=n)


def stage(name: str, end_step: int, error: str | None = None, **values: float) -> StageResult:
    scores = {ability: score(value) for ability, value in values.items()}
    return StageResult(name=name, end_step=end_step, rows={"math": 5}, scores=scores, error=error)


def test_the_rows_of_each_dataset_are_shown_without_the_folders_of_its_file(tmp_path: Path) -> None:
    data = {"domain": "math", "dataset": "/home/me/m.jsonl", "read": 40, "too_long": 36, "kept": 4}
    results = run(stage("one", 4, math=0.5), plan={"stages": [], "data": [data]})
    write_report(ReportView.of(results), tmp_path)
    assert "| m.jsonl | math | 40 | 36 | 0 | 0 | 4 |" in (tmp_path / "report.md").read_text()
    page = (tmp_path / "report.html").read_text()
    assert "m.jsonl" in page
    assert "/home/me" not in page


def test_the_parts_of_a_group_are_folded_under_its_one_ability(tmp_path: Path) -> None:
    parts = {name: score(0.4).to_json() for name in ("mmlu_anatomy", "mmlu_law")}
    group = Score(task="mmlu", metric="acc", value=0.4, stderr=0.1, n=9, extra={"parts": parts})
    results = run(StageResult(name="one", end_step=4, scores={"mmlu": group}))
    write_report(ReportView.of(results), tmp_path)
    markdown = (tmp_path / "report.md").read_text()
    assert "<summary>mmlu: its 2 parts</summary>" in markdown
    assert re.search(r"\| mmlu_law \| 0\.4", markdown)
    assert "| mmlu | mmlu | 9 |" in markdown
    page = (tmp_path / "report.html").read_text()
    assert page.index("<summary>mmlu") < page.index("mmlu_anatomy")


def run(*stages: StageResult, **more: object) -> Results:
    return Results(plan_fingerprint="feed", stages=stages, **more)  # type: ignore[arg-type]


TWO = run(
    stage("specialise", 10, math=0.8, general=0.1),
    stage("generalise", 20, math=0.6, general=0.9),
    learning_curve=tuple(
        {"step": i, "stage": "specialise" if i <= 10 else "generalise", "loss": 3 / i}
        for i in range(1, 21)
    ),
    settings={"base_model": "meta-llama/Llama-2-7b-hf", "dmt": {"k": "1/256"}},
    timings={"stage specialise": 3725.0},
    versions={"axolotl": "0.19.0"},
    plan={
        "schema": 1,
        "stages": [
            {
                "name": "specialise",
                "steps": 10,
                "epochs": 3.0,
                "learning_rate": 2e-5,
                "domains": {
                    "math": {"available": 9, "rows": 5, "draws": 15, "tokens": 12345, "share": 1.0}
                },
            }
        ],
    },
).with_baseline({"math": score(0.1)})

MANY = {f"ability_{i}": i / 20 for i in range(19)}
SHAPES = {
    "two stages": TWO,
    "no stage": run(),
    "one stage": run(stage("all", 10, math=0.5)),
    "ten stages": run(*(stage(f"s{i}", i, math=i / 10) for i in range(10))),
    "an ability missing": run(stage("a", 1, math=0.5), stage("b", 2, code=0.5)),
    "an error": run(stage("a", 1, math=0.5), stage("b", 2, error=f"no memory {NASTY}")),
    "a NaN": run(stage("a", 1, math=0.5), stage("b", 2, math=math.nan)),
    "no evaluation": run(stage("a", 1), stage("b", 2)),
    "only a baseline": run().with_baseline({"math": score(0.5)}),
    "twenty abilities": run(stage("a", 1, **MANY, judge=6.5), stage("b", 2, **MANY, judge=7.5)),
    "twenty abilities, ten stages": run(*(stage(f"s{i}", i, **MANY) for i in range(10))),
    "zero everywhere": run(stage("a", 1, math=0.0), stage("b", 2, math=0.0)),
    "long and nasty names": run(
        stage("s" * 80, 1, **{"a" * 80: 0.5, NASTY: 0.2}), stage(NASTY, 2, **{NASTY: 0.4})
    ),
}


def shown(results: Results, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(terminal_table(ReportView.of(results)))
    return file.getvalue()


def write(results: Results, folder: Path) -> list[Path]:
    return write_report(ReportView.of(results), folder)


class Tags(HTMLParser):
    """Records open tags, and the addresses that a browser would load."""

    VOID = ("meta", "link", "br", "wbr", "img", "source")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "srcset", "href", "action")
        ]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_terminal_table_shows_scores_changes_retention_and_forgetting() -> None:
    lines = [re.findall(r"[^\s│┃]+", line) for line in shown(TWO).splitlines()]
    assert ["baseline", "0.100", "–"] in lines
    assert ["specialise", "0.800", "+0.700", "0.100"] in lines
    assert ["generalise", "0.600", "-0.200", "0.900", "+0.800"] in lines
    assert ["retention", "75.0%", "+0.800"] in lines
    assert ["forgetting", "0.200", "-0.800"] in lines


def test_a_failed_stage_says_so_and_the_next_shows_no_change_over_the_gap() -> None:
    text = shown(run(stage("a", 1, math=0.5), stage("b", 2, error="boom"), stage("c", 3, math=0.7)))
    assert re.search(r"b\s+│\s+failed", text)
    assert "b: evaluation failed: boom" in text
    assert re.search(r"c\s+│\s+0\.700 │", text)


def test_many_abilities_become_the_rows_of_the_terminal_table() -> None:
    text = shown(SHAPES["twenty abilities"], width=80)
    assert re.search(r"ability_18 +│ +0\.900 +│ +0\.900", text)
    assert re.search(r"judge +│ +6\.50 +│ +7\.50", text)
    assert all(len(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize("results", SHAPES.values(), ids=SHAPES)
def test_every_shape_of_run_gives_a_table_and_a_whole_report(
    results: Results, tmp_path: Path
) -> None:
    assert shown(results)
    files = {path.name: path for path in write(results, tmp_path / "dmt")}
    assert ("abilities.png" in files) == ReportView.of(results).was_scored
    assert all(path.is_file() for path in files.values())
    text = files["report.html"].read_text(encoding="utf-8")
    page = Tags(text)
    assert page.open == []
    assert "script" not in page.seen
    assert set(page.loads) == {"data:,"}
    assert not re.search(r"(?<!-)\b(nan|inf)\b|Undefined", "".join(page.text))
    for block in files["report.md"].read_text(encoding="utf-8").split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1


def test_the_start_is_mentioned_only_where_it_was_scored(tmp_path: Path) -> None:
    stages = [stage("one", 40, math=0.5), stage("two", 48, math=0.3)]
    for baseline, scored in ((None, False), ({}, False), ({"math": score(0.1)}, True)):
        results = run(*stages)
        if baseline is not None:
            results = results.with_baseline(baseline)
        write(results, tmp_path)
        texts = [path.read_text() for path in tmp_path.rglob("report.*")]
        assert len(texts) == 2
        for text in (*texts, shown(results), section(ReportView.of(results))):
            assert ("against the start" in text.lower()) is scored


def test_the_picture_is_a_png_wide_enough_to_read(tmp_path: Path) -> None:
    data = next(p for p in write(TWO, tmp_path) if p.suffix == ".png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20], "big") >= 900


def test_an_earlier_picture_goes_when_nothing_was_scored(tmp_path: Path) -> None:
    write(TWO, tmp_path)
    names = [path.name for path in write(SHAPES["no evaluation"], tmp_path)]
    assert names == ["report.md", "report.html"]
    assert not (tmp_path / "abilities.png").exists()


def test_markdown_gives_score_error_n_retention_and_forgetting_by_ability() -> None:
    assert scores_table(ReportView.of(TWO)).splitlines()[2:] == [
        "| math | dmt_math | 200 | 0.100 ± 0.021 | 0.800 ± 0.028 | 0.600 ± 0.035 | 75.0% "
        "| 0.200 ± 0.045 | +0.500 |",
        "| general | dmt_math | 200 | – | 0.100 ± 0.021 | 0.900 ± 0.021 "
        "| gained 0.800 | -0.800 ± 0.030 | – |",
    ]


def test_markdown_holds_the_plan_and_its_fingerprint(tmp_path: Path) -> None:
    write(TWO, tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| specialise | 10 | 3 | 2e-05 | math 15 |" in text
    assert "Plan fingerprint: `feed`" in text
    assert "![Ability by stage](abilities.png)" in text


def test_an_ability_without_retention_is_not_called_retained(tmp_path: Path) -> None:
    def scored(name: str, math: float, general: float) -> StageResult:
        values = {"math": math, "general": general}
        scores = {ability: score(value) for ability, value in values.items()}
        return StageResult(name=name, end_step=1, scores=scores)

    write(run(scored("a", 1.0, 0.0), scored("b", 0.5, 1.0)), tmp_path)
    text = "".join(Tags((tmp_path / "report.html").read_text(encoding="utf-8")).text)
    assert "50.0% retained" in text
    assert "– retained" not in text


def test_text_that_a_model_wrote_is_escaped(tmp_path: Path) -> None:
    sample = Sample(ability=NASTY, prompt=NASTY, answer=NASTY + "\ud800", passed=False)
    first = StageResult(name="a", end_step=1, rows={NASTY: 1}, samples=(sample,), error=NASTY)
    results = run(first, settings={NASTY: NASTY}, versions={NASTY: NASTY})
    results.save(tmp_path / "results.json")
    write(Results.load(tmp_path), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in text
    assert "\x07" not in "".join(re.findall(r"<pre>.*?</pre>", text, re.DOTALL))
    assert "default-src 'none'" in text


def test_samples_of_one_prompt_stand_side_by_side_by_stage(tmp_path: Path) -> None:
    def answered(name: str, answer: str, passed: bool) -> StageResult:
        sample = Sample(ability="math", prompt="1+1=", answer=answer, passed=passed)
        return StageResult(name=name, end_step=1, samples=(sample,))

    write(run(answered("a", "three", False), answered("b", "two", True)), tmp_path)
    text = "".join(Tags((tmp_path / "report.html").read_text(encoding="utf-8")).text)
    assert text.count("1+1=") == 1
    assert re.search(r"1\+1=\s*a\s*✗ failed\s*three\s*b\s*✓ passed\s*two", text)


def test_the_html_shows_settings_timings_versions_and_the_loss_by_stage(tmp_path: Path) -> None:
    write(TWO, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    words = " ".join(" ".join(Tags(text).text).split())
    for part in ("dmt.k 1/256", "stage specialise 1 h 02 min", "axolotl 0.19.0", "Training loss"):
        assert part in words
    assert "prefers-color-scheme: dark" in text
    assert "1 specialise 2 generalise" in words.partition("Training loss")[2]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("meta-llama/Llama-2-7b-hf", "7B"),
        ("huggyllama/llama-13b", "13B"),
        ("models/llama-30b/", "33B"),
        ("Llama-33B", "33B"),
        ("meta-llama/Llama-2-7b-chat-hf", None),
        ("codellama/CodeLlama-7b-hf", None),
        ("meta-llama/Llama-3.1-8B", None),
        ("Qwen/Qwen2-7B", None),
        ("", None),
    ],
)
def test_the_paper_is_quoted_only_beside_the_models_it_used(
    name: str, size: str | None, tmp_path: Path
) -> None:
    assert paper.comparable_size(name) == size
    files = write(run(stage("a", 1, math=0.5), settings={"base_model": name}), tmp_path)
    for text in (path.read_text(encoding="utf-8") for path in files if path.suffix != ".png"):
        assert ("quoted from the paper" in text) == (size is not None)
        assert ("Dong et al." in text) == (size is not None)


def test_importing_the_report_loads_no_heavy_package() -> None:
    code = (
        "import sys, axolotl_dmt.report.write as r; "
        "print({'torch', 'axolotl', 'transformers', 'matplotlib', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@given(st.lists(st.floats(-10, 10), max_size=12), st.floats(0.01, 2))
def test_labels_are_spread_by_the_gap_in_their_order_and_around_where_they_were(
    places: list[float], gap: float
) -> None:
    moved = spread(places, gap)
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert all(moved[b] - moved[a] >= gap - 1e-6 for a, b in pairwise(order))
    assert sum(moved) == pytest.approx(sum(places), abs=1e-6)
    if all(places[b] - places[a] >= gap for a, b in pairwise(order)):
        assert moved == places


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 10)), max_size=1500))
def test_a_thinned_curve_is_short_and_stays_within_the_values_of_each_stage(
    points: list[tuple[str, float]],
) -> None:
    points.sort(key=lambda point: point[0])
    line = [(i, name, value) for i, (name, value) in enumerate(points)]
    thinned = report_charts.thin(line)
    assert len(thinned) <= 402
    if len(line) <= 400:
        assert thinned == [(i, value) for i, _, value in line]
    first = [value for _, name, value in line if name == "a"]
    for x, y in thinned:
        values = first if x < len(first) else [value for _, name, value in line if name == "b"]
        assert min(values) - 1e-9 <= y <= max(values) + 1e-9


def test_a_missing_score_breaks_the_line() -> None:
    figure = new_figure(2, 2)
    view = ReportView.of(run(stage("a", 1, x=0.1), stage("b", 2), stage("c", 3, x=0.3)))
    axes = figure.subplots()
    report_charts.draw_line(axes, view.lines[0], "#000000")
    drawn = list(axes.lines[0].get_ydata())
    assert [None if math.isnan(y) else y for y in drawn] == [0.1, None, 0.3]


def test_the_drawings_of_a_page_share_no_id_and_follow_the_colours_of_the_page(
    tmp_path: Path,
) -> None:
    write(SHAPES["ten stages"], tmp_path)
    write(TWO, tmp_path / "two")
    for text in (path.read_text("utf-8") for path in tmp_path.glob("**/report.html")):
        drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
        ids = [name for drawing in drawings for name in set(re.findall(r' id="(\w+)"', drawing))]
        assert ids and len(ids) == len(set(ids))
        assert "var(--c1)" in text and not re.search("#[0-9a-f]{6}", "".join(drawings))
        assert all(
            'role="img" aria-label="' in drawing or 'aria-hidden="true"' in drawing
            for drawing in drawings
        )


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    pages = [write(TWO, tmp_path / name)[-1].read_bytes() for name in "ab"]
    assert pages[0] == pages[1]


def test_an_ability_has_the_colour_of_the_domain_of_its_name() -> None:
    colours = colours_of(["code", "math", "chat"], fixed=colours_of(["math", "code"]))
    assert colours["math"], colours["code"] == COLOURS[:2]
    assert colours["chat"] == COLOURS[2]
    assert len(set(colours_of([str(i) for i in range(6)]).values())) == 6


def diverged(losses: list[float | None]) -> Results:
    curve = tuple({"step": i, "stage": "one", "loss": x} for i, x in enumerate(losses, 1))
    return run(stage("one", len(losses), math=0.5), learning_curve=curve)


def test_a_loss_that_is_not_finite_leaves_a_gap_and_a_warning(tmp_path: Path) -> None:
    results = diverged([2.0, 1.5, math.nan, 1.4, math.inf, -math.inf, 1.2, 1.1])
    results.save(tmp_path / "results.json")
    loaded = Results.load(tmp_path)
    thinned = report_charts.thin(report_charts.curve_points(loaded.learning_curve, "loss"))
    missing = [step for step, value in thinned if math.isnan(value)]
    assert missing == [3, 5, 6]
    write(loaded, tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    curve = page.partition("<h2>Training loss</h2>")[2]
    lines = re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--ink\)', curve)
    assert max(line.count("M") for line in lines) >= 3, "the curve has several parts"
    for text in (page, (tmp_path / "report.md").read_text("utf-8"), shown(loaded)):
        assert "NaN or infinite at 3 of 8 logged steps" in " ".join(text.split())
        assert "first at step 3 in stage one" in " ".join(text.split())


def test_a_loss_that_is_never_finite_has_no_curve_but_a_warning(tmp_path: Path) -> None:
    write(diverged([math.nan, math.nan]), tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "NaN or infinite at 2 of 2 logged steps" in page.partition("Training loss")[2]
    assert ReportView.of(TWO).loss_warning == ""


@given(st.lists(st.sampled_from([1.0, math.nan]), min_size=1, max_size=2000))
def test_a_thinned_curve_keeps_a_gap_where_there_was_one(losses: list[float]) -> None:
    points = [(i, "a", loss) for i, loss in enumerate(losses)]
    thinned = report_charts.thin(points)
    assert len(thinned) <= 802
    assert any(math.isnan(y) for _, y in thinned) == any(map(math.isnan, losses))
    assert any(not math.isnan(y) for _, y in thinned) == (1.0 in losses)


def test_a_gain_is_shown_as_a_gain_and_not_as_a_percentage(tmp_path: Path) -> None:
    gained = run(stage("a", 1, math=0.115, code=0.0), stage("b", 2, math=0.801, code=0.5))
    write(gained, tmp_path)
    page = "".join(Tags((tmp_path / "report.html").read_text("utf-8")).text)
    for text in (page, (tmp_path / "report.md").read_text("utf-8")):
        assert "gained 0.686" in text and "gained 0.500" in text
        assert "696" not in text and "% retained" not in text
    assert re.search(r"retention *│ *\+0\.686 *│ *\+0\.500", shown(gained))


def test_where_nothing_was_scored_there_is_no_table_of_abilities(tmp_path: Path) -> None:
    for name in ("no evaluation", "no stage"):
        assert shown(SHAPES[name]).split() == ["No", "stage", "was", "evaluated."]
    write(SHAPES["no evaluation"], tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<th>retention</th>" not in page and "<h2>Forgetting</h2>" not in page
    assert "| ability" not in (tmp_path / "report.md").read_text("utf-8")
    failed = run(stage("a", 1, error="no memory"))
    assert "a: evaluation failed: no memory" in shown(failed) and "│" not in shown(failed)


def test_the_heading_is_the_run_with_its_model_and_strategy(tmp_path: Path) -> None:
    folder = tmp_path / "my <run>"
    TWO.save(folder / "dmt" / "results.json")
    (folder / "dmt" / "config.yaml").write_text("dmt: {strategy: dmt, k: 1/16}")
    write_report(ReportView.of(TWO, folder), folder / "dmt")
    page = (folder / "dmt" / "report.html").read_text("utf-8")
    what = "base model meta-llama/Llama-2-7b-hf, strategy dmt, k = 1/16"
    assert "<h1>my &lt;run&gt;</h1>" in page and what in page
    text = (folder / "dmt" / "report.md").read_text("utf-8")
    assert text.startswith("# my \\<run>\n") and what in text
    (folder / "dmt" / "config.yaml").write_text("dmt: {stages: [{name: a}]}")
    assert ReportView.of(TWO, folder).subtitle.endswith("custom stages")
    assert ReportView.of(TWO).title == "meta-llama/Llama-2-7b-hf"


def test_the_colour_of_an_ability_is_the_same_in_each_of_its_drawings(tmp_path: Path) -> None:
    names = ["law", "general", "math", *(f"ability_{i}" for i in range(9))]
    values = dict.fromkeys(names, 0.5)
    write(run(stage("a", 1, **values), stage("b", 2, **values)), tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    colours = ReportView.of(run(stage("a", 1, **values))).ability_colours
    assert len(set(colours.values())) == 12
    assert colours["math"] == COLOURS[0] and colours["general"] == COLOURS[2]
    for name in names:
        variable = css_variable(colours[name])
        panel = page.partition(f"<figcaption><b>{name}</b>")[2].partition("</figure>")[0]
        lost = page.partition("<h2>Forgetting</h2>")[2].partition(f"<b>{name}</b>")[2]
        assert set(re.findall(r"var\(--c\d+\)", panel)) == {variable}
        assert set(re.findall(r"var\(--c\d+\)", lost.partition("</svg>")[0])) == {variable}
        assert re.search(rf'background:{re.escape(variable)}"></i><span>{name} ', page)


def test_an_ability_never_has_the_colour_of_another_domain() -> None:
    domains = colours_of(["general", "code", "math"])
    assert domains == colours_of(["math", "code", "general"])
    abilities = colours_of(["ifeval", "math"], domains)
    assert abilities["ifeval"] not in domains.values()


def test_wide_tables_scroll_and_can_be_scrolled_by_keyboard(tmp_path: Path) -> None:
    write(SHAPES["twenty abilities, ten stages"], tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    outside = re.sub(
        r'<div class="wide" tabindex="0".*?</table>\n</div>', "", page, flags=re.DOTALL
    )
    assert "<thead>" in page and "<thead>" not in outside


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (42, "42 s"),
        (59.7, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations_are_given_in_suitable_units(seconds: float, text: str) -> None:
    assert report_format.duration(seconds) == text
