"""`axolotl dmt merge`: merge the models of two stages, or compare the losses of such merges."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import click

from axolotl_dmt.cli.group import FILE, FOLDER
from axolotl_dmt.console import echo, quiet_axolotl
from axolotl_dmt.errors import DMTError
from axolotl_dmt.results.metrics import finite

Losses = Mapping[str, float]
"""{domain: loss on its held-out rows, in nats per token}."""


@click.command()
@click.argument("output_dir", type=FOLDER)
@click.option(
    "--stages",
    default="specialise,generalise",
    show_default=True,
    help="Two stages of the run, or two model folders.",
)
@click.option(
    "--method",
    type=click.Choice(["linear", "slerp"]),
    default="linear",
    show_default=True,
    help="Linear or spherical interpolation of the weights.",
)
@click.option("--weight", type=float, help="The second model's, from 0 to 1.  [default: 0.5]")
@click.option("--to", type=click.Path(path_type=Path), help="The folder to create.")
@click.option(
    "--measure",
    metavar="WEIGHTS",
    help="Write no model; print the losses on held-out rows of merges with these weights, such as "
    "0.25,0.5,0.75, beside those of the two stages.",
)
@click.option("--config", type=FILE, help="With --measure: the YAML, if not the run's own copy.")
@click.option("--json", "as_json", is_flag=True, help="With --measure: print JSON.")
def merge(
    output_dir: Path,
    stages: str,
    method: str,
    weight: float | None,
    to: Path | None,
    measure: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Merge the models of two stages of a run into one, or find out which merge is best."""
    names = [name.strip() for name in stages.split(",")]
    if (to is None) == (measure is None):
        given = "neither is" if to is None else "both are"
        fix = "add --to FOLDER to write a merge, or --measure 0.25,0.5,0.75 to compare some"
        raise DMTError("--to, --measure", f"{given} given", fix)
    if measure is None:
        for option, is_given in {"--config": config is not None, "--json": as_json}.items():
            if is_given:
                raise DMTError(option, "is for --measure only", "leave it out")
    elif weight is not None:
        raise DMTError("--weight", "is for --to only", "leave it out: --measure names the weights")
    if to is not None:
        from axolotl_dmt.training.merge import merge_stages

        weight = 0.5 if weight is None else weight
        merge_stages(output_dir, names, method=method, weight=weight, to=to)
        echo(f"wrote {to}")
        return
    losses = measured_losses(output_dir, names, method, _weights(measure or ""), config)
    if as_json:
        plain = {
            f"{weight:.12g}": {domain: finite(loss) for domain, loss in values.items()}
            for weight, values in losses.items()
        }
        echo(json.dumps(plain, indent=2, allow_nan=False))
    else:
        show(losses, names)


def _weights(text: str) -> list[float]:
    """Return the weights that the user named, with 0 and 1, in order.

    Raises:
        DMTError: one is not a number from 0 to 1.
    """
    weights = {0.0, 1.0}
    for part in text.split(","):
        try:
            weight = float(part)
        except ValueError:
            weight = -1.0
        if not 0 <= weight <= 1:
            problem = f"{part.strip() or 'an empty text'} is not a number from 0 to 1"
            raise DMTError("--measure", problem, "write for example 0.25,0.5,0.75")
        weights.add(weight)
    return sorted(weights)


def measured_losses(
    output_dir: Path,
    stages: Sequence[str],
    method: str,
    weights: Sequence[float],
    config: Path | None,
) -> Mapping[float, Losses]:
    """Return {weight: losses} of merges of a run's stages, measured by the run's own YAML."""
    from axolotl_dmt.cli.report import saved_config
    from axolotl_dmt.config.yaml_file import YamlFile

    raw = YamlFile.read(config or saved_config(output_dir)).data
    with quiet_axolotl():
        from axolotl_dmt.training.merge_losses import losses_of_merges

        return losses_of_merges(raw, output_dir, stages, method=method, weights=weights)


def show(losses: Mapping[float, Losses], stages: Sequence[str]) -> None:
    """Print the losses of merges, and which weights are better than the second model.

    Args:
        losses: {weight of the second model: {domain: loss}}, with those of weights 0 and 1.
        stages: the names or the folders of the two models.
    """
    from axolotl_dmt.report.console import Console
    from axolotl_dmt.report.tables import Table

    short = [Path(name).name for name in stages]  # a stage may be named by its folder
    first, last = short if len({"", *short}) == 3 else stages
    ends = {0.0: first, 1.0: last}
    labels = {
        weight: f"{weight:g} ({ends[weight]})" if weight in ends else f"{weight:g}"
        for weight in losses
    }
    domains = list(losses[1.0])
    rows = [
        (labels[weight], *(f"{values[domain]:.4f}" for domain in domains), f"{_mean(values):.4f}")
        for weight, values in losses.items()
    ]
    table = Table(
        title="Losses on held-out rows, by weight of the second model",
        header=("weight", *domains, "mean"),
        rows=tuple(rows),
    )
    Console().print(table.terminal())
    merges = {weight: values for weight, values in losses.items() if weight not in ends}
    better = [
        f"{weight:g}"
        for weight, values in merges.items()
        if all(values[domain] < losses[1.0][domain] for domain in domains)
    ]
    echo(f"Less loss than {last} in every domain: {', '.join(better) or 'no weight'}.")
    means = {weight: _mean(values) for weight, values in losses.items()}
    if measured := [weight for weight in means if finite(means[weight]) is not None]:
        echo(f"Lowest mean over the domains: {labels[min(measured, key=means.__getitem__)]}.")


def _mean(losses: Losses) -> float:
    return fmean(losses.values())
