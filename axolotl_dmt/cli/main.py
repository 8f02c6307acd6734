"""The commands `axolotl dmt ...` and their options.

The work of a command is in another module, which is imported only when the command runs, so that
`--help` and the start of `axolotl` itself stay fast.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from axolotl_dmt.cli.gate import gate
from axolotl_dmt.cli.group import (
    FILE,
    FOLDER,
    NEW_FILE,
    Commands,
    hooks_option,
    where_options,
)
from axolotl_dmt.cli.merge import merge
from axolotl_dmt.cli.recipe import recipe
from axolotl_dmt.cli.report import report
from axolotl_dmt.cli.solve import solve
from axolotl_dmt.console import echo


@click.group(cls=Commands)
@click.option("--quiet", is_flag=True, help="Show no progress bars. Same as AXOLOTL_DMT_QUIET=1.")
def dmt(quiet: bool) -> None:
    """Dual-stage Mixed Fine-tuning: plan runs, score their stages, report.

    CONFIG is an Axolotl YAML with a dmt: block. OUTPUT_DIR is the output_dir of a run.
    """
    from axolotl_dmt.console import VARIABLE, silence_known_noise

    silence_known_noise()
    if quiet:
        os.environ[VARIABLE] = "1"


dmt.add_command(recipe)
dmt.add_command(gate)
dmt.add_command(merge)
dmt.add_command(report)
dmt.add_command(solve)


@dmt.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--no-files", is_flag=True, help="Do not check that the model and the data files exist."
)
@click.option(
    "--prompts",
    is_flag=True,
    help="Also show a trained row of each domain and what each task is asked, and check that they "
    "fit together. Needs the tokenizer on this machine, and takes several seconds.",
)
@click.option(
    "--contamination",
    is_flag=True,
    help="Also list the rows of local data files that share a long text with an evaluation "
    "item. Takes one to two minutes for a million rows.",
)
def check(config: str, no_files: bool, prompts: bool, contamination: bool) -> None:
    """Report every mistake in CONFIG with its line number.

    Works offline and requires no GPU. Exits with code 1 if there are mistakes.
    """
    from axolotl_dmt.cli.check import check_yaml

    options = {"prompts": prompts, "contamination": contamination}
    if not check_yaml(config, files=not no_files, **options):
        click.get_current_context().exit(1)


@dmt.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option(
    "--plot", type=click.Path(dir_okay=False), help="Draw the stages as a bar chart in this file."
)
@click.option(
    "--rows",
    type=click.Path(dir_okay=False),
    help="Write every draw, in training order, to this Parquet file.",
)
@click.option("--cost", is_flag=True, help="Estimate the GPUs, the memory and the hours.")
def plan(config: str, as_json: bool, plot: str | None, rows: str | None, cost: bool) -> None:
    """Print the plan of CONFIG: stages, rows, tokens, steps.

    Tokenises the data if it is not prepared yet. Loads no model.
    """
    from axolotl_dmt.cli.plan import show_plan

    show_plan(config, as_json=as_json, plot=plot, rows=rows, cost=cost)


@dmt.command(short_help="Score models side by side, or the unscored stages of a run.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--config", type=FILE, help="Score by the dmt.evaluate block of this YAML.")
@click.option(
    "--tasks", help="lm-eval tasks or groups.  [default: dmt_suite, or those of --config]"
)
@click.option("--limit", type=click.FloatRange(min=0, min_open=True), help="Items per task.")
@click.option(
    "--data",
    multiple=True,
    metavar="ABILITY=FILE",
    help="The items of an ability, for example math=gsm8k_test.jsonl; repeat for more.",
)
@click.option("--to", type=click.Path(path_type=Path), help="Write the results to this folder.")
@click.option("--again", is_flag=True, help="Also score a run's stages that already have scores.")
@hooks_option
def evaluate(models: tuple[str, ...], **options: Any) -> None:
    """Score models side by side, or the stages of a run that have no scores yet.

    A MODEL is a folder with a model or an adapter, a name on the Hub, or a served model as
    URL#NAME (http://localhost:8000/v1#my-model). A run's OUTPUT_DIR stands for its last stage.
    The models are compared with the first one on the items that they share.

    One OUTPUT_DIR, without --tasks, --limit, --data and --to, means the run's unscored stages.
    """
    from axolotl_dmt.cli.evaluate import evaluate as run_evaluation

    if not run_evaluation(models, **options):
        click.get_current_context().exit(1)


@dmt.command("row-losses")
@click.argument("config", type=FILE)
@click.option(
    "--model",
    required=True,
    type=FOLDER,
    help="The folder of a stage, for example OUTPUT_DIR/stages/01-specialise.",
)
@click.option(
    "--domains",
    help="The domains to measure, for example math,code.  [default: all except the general ones]",
)
@click.option(
    "--output",
    type=NEW_FILE,
    help="The file to write.  [default: dmt.replay.losses if set, else "
    "OUTPUT_DIR/dmt/row_losses.parquet]",
)
@click.option(
    "--batch-tokens",
    type=click.IntRange(min=1),
    default=8192,
    show_default=True,
    help="Tokens per forward pass. Lower it if memory runs out.",
)
def row_losses(
    config: Path, model: Path, domains: str | None, output: Path | None, batch_tokens: int
) -> None:
    """Measure each row's loss, for replay of hard rows.

    `dmt.replay` with `select: hardest` reads the file.
    """
    from axolotl_dmt.cli.row_losses import write_row_losses

    names = [name.strip() for name in (domains or "").split(",") if name.strip()]
    path = write_row_losses(config, model, domains=names, output=output, batch_tokens=batch_tokens)
    echo(f"wrote {path}")


@dmt.command()
@click.argument("study", type=FILE)
@where_options
@click.option(
    "--dry-run", is_flag=True, help="Print the cells with their steps and tokens; train nothing."
)
@click.option(
    "--emit",
    "emit_commands",
    type=click.Choice(["shell", "slurm"]),
    is_flag=False,
    flag_value="shell",
    help="Print the remaining commands in order, or a script for Slurm; train nothing.",
)
@click.option("--report-only", is_flag=True, help="Report on the finished runs; train nothing.")
@click.option(
    "--retrain-changed",
    is_flag=True,
    help="Retrain the runs whose settings changed. Their old folders are kept.",
)
def study(
    study: Path, jobs: int | None, ray: str | None, gpus: float | None, **options: Any
) -> None:
    """Train, score and compare a grid of runs.

    STUDY is the study's YAML. If started again, the command continues where it stopped.
    """
    from axolotl_dmt.cli.study import run_study
    from axolotl_dmt.study.workers import Where

    run_study(study, where=Where(jobs=jobs, ray=ray, gpus=gpus), **options)


@dmt.command("filter")
@click.argument("source", type=FILE)
@click.argument("target", type=NEW_FILE)
@click.option("--drop", required=True, metavar="REGEX", help="Drop the rows that match.")
@click.option("--column", help="Search this column only.  [default: every text of the row]")
@click.option("--overwrite", is_flag=True, help="Replace TARGET if it exists.")
def filter_(source: Path, target: Path, drop: str, column: str | None, overwrite: bool) -> None:
    """Copy a data file without the rows that match a regex."""
    from axolotl_dmt.cli.filter import filter_rows

    rows, kept = filter_rows(source, target, drop=drop, column=column, overwrite=overwrite)
    echo(f"{target}: {kept:,} of {rows:,} rows")


@dmt.command()
@click.argument("output_dir", type=FOLDER)
@click.option("--config", type=FILE, help="Use this YAML instead of the one saved with the run.")
@click.option(
    "--layer",
    type=int,
    help="The transformer layer, counted from 1; 0 is the embeddings.  [default: the middle one]",
)
@click.option(
    "--method",
    type=click.Choice(["tsne", "pca"]),
    default="tsne",
    show_default=True,
    help="How to reduce the hidden states to two dimensions.",
)
@click.option(
    "--token",
    type=click.Choice(["mean", "last"]),
    default="mean",
    show_default=True,
    help="Use the mean over a query's tokens, or its last token.",
)
@click.option("--queries", default=100, show_default=True, help="Queries per domain.")
@click.option(
    "--to",
    type=NEW_FILE,
    help="The PNG to write.  [default: OUTPUT_DIR/dmt/hidden_states.png]",
)
def visualise(output_dir: Path, config: Path | None, to: Path | None, **settings: Any) -> None:
    """Plot the hidden states of queries by domain and stage."""
    from axolotl_dmt.cli.visualise import visualise as draw
    from axolotl_dmt.console import bars_where_wanted
    from axolotl_dmt.results.folder import RunFolder

    to = to or RunFolder(output_dir).hidden_states
    with bars_where_wanted():
        panels = draw(output_dir, config_file=config, to=to, **settings)
    for panel in panels:
        if panel.silhouette is not None:
            echo(f"{panel.title}: silhouette of the domains {panel.silhouette:.3f}")
    echo(f"wrote {to}")


@dmt.command()
def strategies() -> None:
    """List the strategies, including those of installed plugins."""
    from axolotl_dmt.cli.listings import print_strategies

    print_strategies()


@dmt.command()
@click.argument("config", required=False, type=click.Path(exists=True, dir_okay=False))
def hooks(config: str | None) -> None:
    """List the hooks and the plugins that implement them.

    Includes installed packages and, if CONFIG is given, the hooks that its dmt.hooks names.
    """
    from axolotl_dmt.cli.listings import print_hooks

    print_hooks(config)


@dmt.command()
def schema() -> None:
    """Print the JSON Schema of the YAML, for editors."""
    import json

    from axolotl_dmt.config.json_schema import yaml_schema

    echo(json.dumps(yaml_schema(), indent=2))


@dmt.command()
@click.argument("path", default="dmt.yaml", type=NEW_FILE)
@click.option("--base-model", help="A model folder, or a model on the Hugging Face Hub.")
@click.option(
    "--data",
    multiple=True,
    metavar="DOMAIN=FILE",
    help="A domain and its data: a file, or a dataset on the Hub. Repeat for each dataset.",
)
@click.option(
    "--gpu-memory",
    type=click.FloatRange(min=0),
    help="The memory of one GPU in GB; 0 to train on the CPU.",
)
@click.option(
    "--strategy",
    default="dmt",
    show_default=True,
    help="The training schedule; see `axolotl dmt strategies`.",
)
@click.option(
    "--k",
    default="1/256",
    show_default=True,
    help="The fraction of the specialised data that stage 2 replays.",
)
@click.option(
    "--general",
    help="The domain of the general data.  [default: general if --data names it, else the last "
    "one]",
)
@click.option(
    "--prompt",
    metavar="NAME",
    help="The chat template of all datasets: vicuna, or one of Axolotl's.  [default: the model's]",
)
@click.option(
    "--output-dir", default="outputs/dmt", show_default=True, help="Where the run will be saved."
)
def init(path: Path, **answers: Any) -> None:
    """Write a commented YAML to PATH to start from.

    Asks for the base model, the data and the GPU memory if no option gives them.
    """
    from axolotl_dmt.cli.init import init_yaml

    init_yaml(path, **answers)


@dmt.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=FOLDER)
@click.option("--markdown", type=NEW_FILE, help="Also write the tables to this Markdown file.")
@click.option("--html", type=NEW_FILE, help="Also write the comparison to this HTML page.")
def compare(runs: tuple[Path, ...], markdown: Path | None, html: Path | None) -> None:
    """Compare runs with the first one. Each RUN is an output folder."""
    from axolotl_dmt.cli.compare import compare_runs

    compare_runs(runs, markdown=markdown, html=html)
