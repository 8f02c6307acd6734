"""`axolotl dmt ...`: what can be asked of a YAML or a run without training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from axolotl_dmt.errors import one_clear_error
from axolotl_dmt.recipe_command import recipe

_hooks = click.option(
    "--hooks",
    multiple=True,
    metavar="MODULE_OR_FILE",
    help="Hooks to load, as dmt.hooks names them; a run's own are not loaded unasked.",
)


@click.group()
@click.option("--quiet", is_flag=True, help="No progress bars; AXOLOTL_DMT_QUIET=1 says the same.")
def dmt(quiet: bool) -> None:
    """Dual-stage Mixed Fine-tuning: plans before training, scores and reports after it."""
    from axolotl_dmt.quiet import VARIABLE, silence_known_noise

    silence_known_noise()
    if quiet:
        import os

        os.environ[VARIABLE] = "1"


dmt.add_command(recipe)


@dmt.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.option("--no-files", is_flag=True, help="Do not look for the model and the data files.")
def check(config: str, no_files: bool) -> None:
    """Check CONFIG: every mistake that shows without a GPU, offline, each with its line."""
    with one_clear_error():
        from axolotl_dmt.check import check_file

        mistakes = check_file(config, files=not no_files)
    for line in mistakes:
        click.echo(line)
    if mistakes:
        raise SystemExit(1)
    click.echo(f"{config}: no mistakes found")


@dmt.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Write a bar picture of the stages.")
@click.option(
    "--rows",
    type=click.Path(dir_okay=False),
    help="Write every draw in training order to a Parquet file.",
)
def plan(config: str, as_json: bool, plot: str | None, rows: str | None) -> None:
    """Print the plan of CONFIG: stages, rows, tokens, steps. Loads no model."""
    with one_clear_error():
        from axolotl_dmt.plan_command import show_plan

        show_plan(config, as_json=as_json, plot=plot, rows=rows)


@dmt.command()
@click.argument("output_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Score by this YAML's dmt.evaluate in place of the run's own.",
)
@click.option("--again", is_flag=True, help="Score the stages that have scores too.")
@_hooks
def evaluate(output_dir: Path, config: Path | None, again: bool, hooks: tuple[str, ...]) -> None:
    """Score the stages of the run in OUTPUT_DIR that have no scores yet."""
    with one_clear_error():
        _load_hooks(hooks, output_dir)
        from axolotl_dmt.run_folder import score_stages

        for name, what in score_stages(output_dir, config_file=config, again=again):
            click.echo(f"{name}: {what}")
        _show_report(output_dir)


@dmt.command()
@click.argument("output_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_hooks
def report(output_dir: Path, hooks: tuple[str, ...]) -> None:
    """Write the report of the run in OUTPUT_DIR anew and print its table."""
    with one_clear_error():
        _load_hooks(hooks, output_dir)
        from axolotl_dmt.model_card import update_card
        from axolotl_dmt.report import write_report
        from axolotl_dmt.run_folder import load_results

        results = load_results(output_dir)
        write_report(results, output_dir / "dmt")
        update_card(output_dir, results)
        _show_report(output_dir)


def _load_hooks(named: tuple[str, ...], output_dir: Path) -> None:
    """Those that were asked for. A folder may be a stranger's, and hooks are code."""
    from axolotl_dmt.hook_loading import load_hooks
    from axolotl_dmt.record import HOOKS
    from axolotl_dmt.run_folder import load_results

    load_hooks(named)
    used = load_results(output_dir).extra.get(HOOKS)
    if used and not named:
        click.echo(f"the run used hooks ({', '.join(used)}): name them with --hooks", err=True)


def _show_report(output_dir: Path) -> None:
    from rich.console import Console

    from axolotl_dmt.report_terminal import terminal_table
    from axolotl_dmt.run_folder import load_results

    Console().print(terminal_table(load_results(output_dir)))
    click.echo(f"  {output_dir / 'dmt' / 'report.html'}")


@dmt.command("choose-k")
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--launcher-args",
    help="Added to each `axolotl train`, such as '--launcher torchrun -- --nproc_per_node 8'.",
)
@click.option(
    "--train", is_flag=True, help="Then train the whole of stage 2 with it, from stage 1's weights."
)
def choose_k(config: Path, launcher_args: str | None, train: bool) -> None:
    """Find the smallest replay k that keeps the specialised scores, by short trials."""
    with one_clear_error():
        from axolotl_dmt.choose_k import choose_k

        choose_k(config, launcher_args=launcher_args or "", train=train)


@dmt.command("row-losses")
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--model",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A stage's folder, such as OUTPUT_DIR/stages/01-specialise.",
)
@click.option("--domains", help="Such as math,code. Default: all that are not general.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write. Default: dmt.replay.losses, else OUTPUT_DIR/dmt/row_losses.parquet.",
)
@click.option(
    "--batch-tokens",
    type=click.IntRange(min=1),
    default=8192,
    show_default=True,
    help="Tokens that the model sees at a time; lower it where memory is short.",
)
def row_losses(
    config: Path, model: Path, domains: str | None, output: Path | None, batch_tokens: int
) -> None:
    """Write each row's loss under a stage's model, for dmt.replay: hardest or easiest."""
    with one_clear_error():
        from axolotl_dmt.measure_losses import write_row_losses

        names = [name.strip() for name in (domains or "").split(",") if name.strip()]
        path = write_row_losses(
            config, model, domains=names, output=output, batch_tokens=batch_tokens
        )
        click.echo(f"wrote {path}")


@dmt.command()
@click.argument("output_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--stages",
    default="specialise,generalise",
    show_default=True,
    help="Two stages of the run, or folders of models.",
)
@click.option(
    "--method",
    type=click.Choice(["linear", "slerp"]),
    default="linear",
    show_default=True,
    help="Along the line, or the arc, between the weights.",
)
@click.option(
    "--weight", type=float, default=0.5, show_default=True, help="Of the second, from 0 to 1."
)
@click.option("--to", required=True, type=click.Path(path_type=Path), help="A new folder.")
def merge(output_dir: Path, stages: str, method: str, weight: float, to: Path) -> None:
    """Merge the models of two stages of the run in OUTPUT_DIR into one."""
    with one_clear_error():
        from axolotl_dmt.merge import merge_stages

        merge_stages(output_dir, stages.split(","), method=method, weight=weight, to=to)
        click.echo(f"wrote {to}")


@dmt.command()
@click.argument("study", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at a time."
)
@click.option(
    "--launcher-args",
    help="Added to each `axolotl train`, such as '--launcher torchrun -- --nproc_per_node 8'.",
)
@click.option("--dry-run", is_flag=True, help="Print cells, steps and tokens; train nothing.")
@click.option(
    "--emit",
    "emit_commands",
    is_flag=True,
    help="Print the commands that are left in the order of their needs; train nothing.",
)
@click.option("--report-only", is_flag=True, help="Write the report over what is trained.")
@click.option(
    "--retrain-changed",
    is_flag=True,
    help="Train runs anew whose settings changed; their old folders are kept.",
)
def study(study: Path, **options: Any) -> None:
    """Train, score and compare a grid of runs; started again, goes on where it ended."""
    with one_clear_error():
        from axolotl_dmt.study_command import run_study

        run_study(study, **options)


@dmt.command("filter")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--drop", required=True, metavar="REGEX", help="Rows to leave out.")
@click.option("--column", help="Look at this column alone.")
@click.option("--overwrite", is_flag=True, help="Write TARGET even if it is there already.")
def filter_(source: Path, target: Path, drop: str, column: str | None, overwrite: bool) -> None:
    """Write the rows of SOURCE to TARGET without those in which REGEX finds something."""
    with one_clear_error():
        from axolotl_dmt.filter_rows import filter_rows

        rows, kept = filter_rows(source, target, drop=drop, column=column, overwrite=overwrite)
        click.echo(f"{target}: {kept:,} of {rows:,} rows")


@dmt.command()
@click.argument("output_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The run's YAML, in place of the one that it kept.",
)
@click.option("--layer", type=int, help="From 1; 0 are the embeddings.  [default: the middle one]")
@click.option(
    "--method",
    type=click.Choice(["tsne", "pca"]),
    default="tsne",
    show_default=True,
    help="How to come to two dimensions.",
)
@click.option(
    "--token",
    type=click.Choice(["mean", "last"]),
    default="mean",
    show_default=True,
    help="Mean over the query's tokens, or its last.",
)
@click.option("--queries", default=100, show_default=True, help="Of each domain.")
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The PNG.  [default: OUTPUT_DIR/dmt/hidden_states.png]",
)
def visualise(
    output_dir: Path,
    config: Path | None,
    layer: int | None,
    method: str,
    token: str,
    queries: int,
    to: Path | None,
) -> None:
    """Picture where each model of the run in OUTPUT_DIR puts the queries of each domain."""
    from axolotl_dmt.quiet import bars_where_wanted

    with one_clear_error(), bars_where_wanted():
        from axolotl_dmt.visualise import visualise as draw

        to = to or output_dir / "dmt" / "hidden_states.png"
        panels = draw(
            output_dir,
            config_file=config,
            layer=layer,
            method=method,
            token=token,
            queries=queries,
            to=to,
        )
        for panel in panels:
            if panel.silhouette is not None:
                click.echo(f"{panel.title}: silhouette of the domains {panel.silhouette:.3f}")
        click.echo(f"wrote {to}")


@dmt.command()
def strategies() -> None:
    """List the strategies, those of installed plugins too."""
    with one_clear_error():
        from rich.console import Console
        from rich.table import Table

        from axolotl_dmt.hooks import known_strategies

        table = Table("strategy", "what it does", box=None, pad_edge=False)
        for strategy in known_strategies().values():
            table.add_row(strategy.name, strategy.summary)
        Console().print(table)


@dmt.command()
@click.argument("config", required=False, type=click.Path(exists=True, dir_okay=False))
def hooks(config: str | None) -> None:
    """List who implements which hook: installed packages, and what CONFIG names in dmt.hooks."""
    with one_clear_error():
        from rich.console import Console
        from rich.table import Table

        from axolotl_dmt.hook_loading import implementations, load_hooks
        from axolotl_dmt.yaml_file import YamlFile

        if config is not None:
            load_hooks(YamlFile.read(config).hooks())
        table = Table("hook", "plugin", "what", box=None, pad_edge=False)
        for line in implementations():
            table.add_row(line.hook, line.plugin, line.what)
        Console().print(table)


@dmt.command()
def schema() -> None:
    """Print the JSON Schema of the YAML, for editors."""
    with one_clear_error():
        import json

        from axolotl_dmt.json_schema import yaml_schema

        click.echo(json.dumps(yaml_schema(), indent=2))


@dmt.command()
@click.argument("path", default="dmt.yaml", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--base-model", help="A model of the hub, or a folder.")
@click.option(
    "--data", multiple=True, metavar="DOMAIN=FILE", help="A file or a dataset of the hub."
)
@click.option("--gpu-memory", type=click.FloatRange(min=0), help="Of one GPU, in GB; 0 for a CPU.")
@click.option("--strategy", default="dmt", show_default=True, help="See `axolotl dmt strategies`.")
@click.option("--k", default="1/256", show_default=True, help="Replay of specialised data.")
@click.option("--general", help="The domain of general data.")
@click.option("--output-dir", default="outputs/dmt", show_default=True, help="Of the run.")
def init(
    path: Path,
    base_model: str | None,
    data: tuple[str, ...],
    gpu_memory: float | None,
    **settings: str,
) -> None:
    """Write a commented YAML to PATH; asks for what no option says."""
    with one_clear_error():
        from axolotl_dmt.errors import DMTError
        from axolotl_dmt.init_command import Wanted, write_yaml

        if path.exists():
            raise DMTError(str(path), "exists already", "name another file")
        for entry in data:
            if not all(entry.partition("=")):
                raise DMTError("--data", f"{entry!r} names no domain", "write math=math.jsonl")
        pairs = [(domain, file) for domain, _, file in (entry.partition("=") for entry in data)]
        try:
            base_model = base_model or click.prompt("Base model (of the hub, or a folder)")
            while not data:
                file = click.prompt("Data file, or dataset of the hub (empty: no more)", default="")
                if not file:
                    break
                pairs.append((click.prompt("  its domain", default="general"), file))
            if gpu_memory is None:
                gpu_memory = click.prompt(
                    "Memory of one GPU in GB (0: CPU)", type=float, default=24
                )
        except click.Abort:
            if sys.stdin.isatty():  # the user's own Ctrl-C
                raise
            click.echo(err=True)
            fix = "say --base-model, --data and --gpu-memory"
            raise DMTError("init", "nobody answers its questions here", fix) from None
        write_yaml(
            path, Wanted(base_model=base_model, data=pairs, gpu_memory=gpu_memory or 0, **settings)
        )
        click.echo(f"wrote {path}; next: axolotl dmt check {path}")


@dmt.command()
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    metavar="RUN...",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write a file.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one page.")
def compare(runs: tuple[Path, ...], markdown: Path | None, html: Path | None) -> None:
    """Show the runs in these output folders side by side, against the first one."""
    with one_clear_error():
        from rich.console import Console

        from axolotl_dmt.compare import load_runs, terminal, write_html, write_markdown
        from axolotl_dmt.errors import DMTError

        loaded = load_runs(runs)
        console = Console()
        for table in terminal(loaded):
            console.print(table)
        try:
            written = write_markdown(loaded, markdown) if markdown else []
            written += write_html(loaded, html) if html else []
        except OSError as error:
            problem = f"{error.filename} cannot be written ({error.strerror})"
            raise DMTError("--markdown or --html", problem, "name another file") from None
        for path in written:
            click.echo(f"  {path}")
