"""Every ready study expands into the cells it promises, and each of its runs is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from axolotl_dmt.config.args import read_config
from axolotl_dmt.config.resolve import StageDefaults, resolve_stages
from axolotl_dmt.study.cells import expand, runs_of
from axolotl_dmt.study.config import read_study
from axolotl_dmt.study.stages import domains_of

FOLDER = Path(__file__).parents[2] / "yaml_templates/studies"
CELLS = {  # cells and runs for each seed
    "tiny/rq1_amount": (15, 15),
    "tiny/rq1_sizes": (24, 24),
    "tiny/rq2_mixed_vs_single": (20, 20),
    "tiny/rq3_ratio": (13, 13),
    "tiny/rq4_strategies": (7, 9),
    "tiny/k_sweep": (6, 7),
    "tiny/no_code_math_in_chat": (8, 10),
    "tiny/beyond": (9, 10),
    "tiny/reproduction": (12, 13),
    "pretrained/losses": (8, 11),
    "pretrained/scores": (8, 11),
    "pretrained/learning_rate": (2, 4),
    "pretrained/beyond": (9, 10),
    "pretrained/forgetting": (4, 6),
    "7b/rq1_amount": (15, 15),
    "7b/rq2_mixed_vs_single": (20, 20),
    "7b/rq3_ratio": (13, 13),
    "7b/rq4_strategies": (7, 9),
    "7b/k_sweep": (6, 7),
    "7b/no_code_math_in_chat": (12, 14),
}
DEFAULTS = StageDefaults(
    epochs=1,
    learning_rate=1e-3,
    lr_scheduler="cosine",
    warmup_steps=None,
    warmup_ratio=None,
    weight_decay=None,
)


def test_no_study_is_left_out() -> None:
    names = {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.yaml")}
    assert names - {"tiny/base", "pretrained/base", "7b/base"} == set(CELLS)


@pytest.mark.parametrize("name", CELLS)
def test_a_study_expands_into_its_cells_and_every_run_is_accepted(name: str) -> None:
    study, base = read_study(FOLDER / f"{name}.yaml")
    cells = expand(study, base)
    runs = runs_of(cells)
    seeds = len(study.seeds)
    assert (len(cells), len(runs)) == tuple(count * seeds for count in CELLS[name])
    assert len({cell.name for cell in cells}) == len(cells)
    for run in runs:
        config = read_config(run.config["dmt"])
        assert config.seed == run.config["seed"]
        resolve_stages(config, domains_of(run.config), DEFAULTS)
        assert "{seed}" not in yaml.safe_dump(dict(run.config))


def test_output_folders_differ() -> None:
    folders = [read_study(FOLDER / f"{name}.yaml")[0].output_dir for name in CELLS]
    assert len(set(folders)) == len(folders)


def test_the_paper_size_trains_as_the_paper_says() -> None:
    base = yaml.safe_load((FOLDER / "7b/base.yaml").read_text(encoding="utf-8"))
    assert (base["num_epochs"], base["learning_rate"], base["warmup_ratio"]) == (3, 2e-5, 0.03)
    assert base["sequence_len"] == 2048
    assert base["micro_batch_size"] * base["gradient_accumulation_steps"] * 8 == 128
    assert base["dmt"]["evaluate"]["prompt"] == "vicuna"


def test_the_paper_size_trains_in_the_prompt_that_it_scores_in() -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from axolotl_dmt.scoring.sources import TEMPLATES

    base = yaml.safe_load((FOLDER / "7b/base.yaml").read_text(encoding="utf-8"))
    scored = TEMPLATES["vicuna"]
    first = scored.first.replace("{question}", "Why?")
    math, code, _ = (entry["type"] for entry in base["datasets"])
    for kind in (math, code):
        assert kind["no_input_format"].replace("{instruction}", "Why?") == first
    template = ImmutableSandboxedEnvironment().from_string(base["chat_template_jinja"])
    turns = [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": "When?"},
    ]
    text = template.render(messages=turns, bos_token="<s>", eos_token="</s>").removeprefix("<s>")
    later = scored.later.replace("{question}", "When?").removesuffix(" ASSISTANT:")
    assert text == f"{first} So.{later}"
