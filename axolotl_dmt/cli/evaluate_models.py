"""Scores several models, and prints one table of their scores and one of their differences."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError
from axolotl_dmt.evaluation.any_model import AnyModel, asked, score_any
from axolotl_dmt.evaluation.scores import Evaluation
from axolotl_dmt.files import write_text
from axolotl_dmt.report.changes import HOW_TO_READ, cells, notes
from axolotl_dmt.report.console import Console
from axolotl_dmt.report.format import MISSING, with_error
from axolotl_dmt.report.tables import Table
from axolotl_dmt.results.changes import RUN, Answers, Change, answers_by_point, compare
from axolotl_dmt.results.items import ITEMS_FILE, Point, items_table, record_items
from axolotl_dmt.scoring.prompts import AS_TRAINED

MODEL_KIND: Final = "model"
"""The kind of a point of the ledger that is a model of no run."""
RESULTS_FILE: Final = "evaluation.json"
MARKDOWN_FILE: Final = "evaluation.md"

Scored = Mapping[str, Evaluation]
"""{name of a model: its evaluation}, in the order of the command line."""


def evaluate_models(named: Sequence[str], config: EvaluateConfig, *, to: Path | None) -> bool:
    """Score models one after another, and print the tables.

    Args:
        named: the models, as the command line names them.
        config: the `dmt.evaluate` block to score all of them by.
        to: the folder to write the results to, or None.

    Returns:
        Whether every model was scored.

    Raises:
        DMTError: an argument or the block is wrong.
    """
    models = _with_different_names([AnyModel.of(text) for text in named])
    if to is not None:
        _check_folder(to)
    scored: dict[str, Evaluation] = {}
    for model in models:
        echo(f"{model.name}: scoring, asked in {_prompt(model, config)}", err=True)
        evaluation = scored[model.name] = score_any(model, config)
        if evaluation.error:
            echo(f"{model.name}: not scored: {evaluation.error}", err=True)
        if to is not None:  # what is scored is kept, whatever happens to the next model
            _write(scored, config, to)
    tables = _tables(scored)
    for table in tables:
        Console().print(table.terminal())
        if table.note:
            echo(table.note)
    if to is not None:
        text = "\n\n".join(f"## {t.title}\n\n{t.markdown()}\n\n{t.note}".strip() for t in tables)
        with _writing(to):
            write_text(to / MARKDOWN_FILE, text + "\n")
        echo(f"  {to}")
    return not any(evaluation.error for evaluation in scored.values())


def _with_different_names(models: Sequence[AnyModel]) -> list[AnyModel]:
    names = [model.name for model in models]
    if len(set(names)) == len(names):
        return list(models)
    whole = [model.path or f"{model.url}#{model.served}" for model in models]
    if len(set(whole)) < len(whole):
        twice = next(name for name in whole if whole.count(name) > 1)
        raise DMTError("MODEL", f"{twice} is named twice", "name each model once")
    return [replace(model, name=name) for model, name in zip(models, whole, strict=True)]


def _prompt(model: AnyModel, config: EvaluateConfig) -> str:
    """Return how a model is asked, in words."""
    if model.url is not None:
        return "the server's chat template"
    block = asked(model, config)
    if block.apply_chat_template:
        return "its chat template"
    return "the formats of its training" if block.prompt == AS_TRAINED else f"{block.prompt!r}"


def _tables(scored: Scored) -> list[Table]:
    abilities = list(dict.fromkeys(name for each in scored.values() for name in each.scores))
    rows = [(name, *(_cell(each, a) for a in abilities)) for name, each in scored.items()]
    tables = [Table(title="Scores", header=("model", *abilities), rows=tuple(rows))]
    changes = differences(scored)
    if changes:
        header = ("model", "against", "ability", "change", "95% interval", "lost", "won", "n", "p")
        body = tuple((c.after, c.before, c.ability, *cells(c, c.p)) for c in changes)
        note = " ".join([HOW_TO_READ, *notes(changes)])
        title = "Differences on the same items"
        tables.append(Table(title=title, header=header, rows=body, note=note, left=(0, 1, 2)))
    return tables


def _cell(evaluation: Evaluation, ability: str) -> str:
    score = evaluation.scores.get(ability)
    return MISSING if score is None else with_error(score.value, score.stderr)


def differences(scored: Scored) -> list[Change]:
    """Return how each model differs from the first one on the items of both.

    The models may be asked in prompts of their own, which is said, and forbids no comparison.
    """
    answers: dict[str, Mapping[str, Answers]] = {}
    for index, (name, evaluation) in enumerate(scored.items()):
        table = items_table(_point(name, index), evaluation.items)
        answers |= answers_by_point(table, [MODEL_KIND])
    first, *others = scored
    return [
        change
        for name in others
        for change in compare(
            answers.get(first, {}),
            answers.get(name, {}),
            names=(first, name),
            reference=RUN,
            same_prompts=False,
        )
    ]


def _point(name: str, index: int) -> Point:
    return Point(kind=MODEL_KIND, name=name, step=index)


def _check_folder(to: Path) -> None:
    """Create the folder of the results, before anything is scored.

    Raises:
        DMTError: it cannot be written, or it has the results of another evaluation.
    """
    if (to / RESULTS_FILE).exists():
        raise DMTError("--to", f"{to} holds an evaluation already", "name another folder")
    with _writing(to):
        to.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=to):
            pass


def _write(scored: Scored, config: EvaluateConfig, to: Path) -> None:
    """Write the results so far.

    Raises:
        DMTError: the folder cannot be written.
    """
    with _writing(to):
        content = {
            "evaluate": config.model_dump(exclude_none=True, exclude_unset=True),
            "models": {name: each.to_json() for name, each in scored.items()},
        }
        write_text(to / RESULTS_FILE, json.dumps(content, indent=2))
        for index, (name, each) in enumerate(scored.items()):
            record_items(to / ITEMS_FILE, _point(name, index), each.items)


@contextlib.contextmanager
def _writing(to: Path) -> Iterator[None]:
    """On exit, raise an error of writing to the folder as the user's mistake."""
    try:
        yield
    except OSError as error:
        problem = f"{to} cannot be written ({error.strerror})"
        raise DMTError("--to", problem, "name another folder") from None
