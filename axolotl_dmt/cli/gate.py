"""`axolotl dmt gate`: exit with a status that says whether a run keeps and improves abilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError

if TYPE_CHECKING:
    from axolotl_dmt.results.gate import Outcome


@click.command(short_help="Check the abilities of a run against limits, for CI.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--keep",
    multiple=True,
    metavar="ABILITY=LIMIT",
    help="The largest accepted loss of an ability, as a change of its score, for example "
    "math=-0.02. Several are separated by commas.",
)
@click.option(
    "--improve",
    multiple=True,
    metavar="ABILITY=LIMIT",
    help="The smallest accepted gain of an ability, for example general=0.01.",
)
@click.option(
    "--against",
    help="Compare with baseline (the model before training), a stage of RUN, or the last stage of "
    "another output folder.  [default: the best earlier point of each ability]",
)
@click.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the outcomes to this JUnit file.",
)
def gate(
    run: Path,
    keep: tuple[str, ...],
    improve: tuple[str, ...],
    against: str | None,
    junit: Path | None,
) -> None:
    """Check whether the last stage of RUN keeps and improves abilities.

    Exits with code 0 if every rule holds, 1 if one does not, and 2 if the items are too few to
    decide; the line then says about how many would. Without options, the rules are those of
    dmt.gate in the run's YAML, and the floors that axolotl dmt solve wrote into it.
    """
    from axolotl_dmt.results.gate import judge_run, rules_of, verdict_of, write_junit

    limits = read_limits("--keep", keep), read_limits("--improve", improve)
    if any(limits):
        outcomes = judge_run(run, rules_of(*limits), against)
    else:
        outcomes = _judged_by_yaml(run, against)
    for outcome in outcomes:
        echo(str(outcome))
    if junit is not None:
        try:
            write_junit(junit, outcomes)
        except OSError as error:
            problem = f"{junit} cannot be written ({error.strerror})"
            raise DMTError("--junit", problem, "name another file") from None
    click.get_current_context().exit(int(verdict_of(outcomes)))


def read_limits(option: str, values: tuple[str, ...]) -> dict[str, float]:
    """Return {ability: limit} of an option's values, such as `math=-0.02,code=-0.02`.

    Raises:
        DMTError: a value has another form, or an ability is named twice.
    """
    limits: dict[str, float] = {}
    for part in (part.strip() for value in values for part in value.split(",")):
        ability, _, number = (text.strip() for text in part.partition("="))
        try:
            limit = float(number)
        except ValueError:
            raise DMTError(option, f"{part!r} is not ABILITY=LIMIT", "write math=-0.02") from None
        if not ability or ability in limits:
            raise DMTError(option, f"{part!r} names no new ability", "name each ability once")
        limits[ability] = limit
    return limits


def _judged_by_yaml(run: Path, against: str | None) -> list[Outcome]:
    """Judge a run by the gate and the floors of its own YAML.

    Raises:
        DMTError: the YAML has neither.
    """
    from axolotl_dmt.config.gate_args import GateConfig
    from axolotl_dmt.report.promises import judge, solved_of
    from axolotl_dmt.results.config_file import load_config
    from axolotl_dmt.results.folder import RunFolder

    block = None
    if RunFolder(run).config.is_file():
        block = (load_config(run).get("dmt") or {}).get("gate")
    solved = solved_of(run)
    if block is None and solved is None:
        fix = "give --keep math=-0.02 or --improve general=0.01"
        raise DMTError("--keep", "there is no rule, and the run's YAML has no dmt.gate", fix)
    gate = None if block is None else GateConfig.model_validate(block)
    if gate is not None and against is not None:
        gate = gate.model_copy(update={"against": against})
    return judge(run, gate, solved)
