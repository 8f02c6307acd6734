"""Finds the prompt formats of a run, and checks its evaluation before the training starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from axolotl.loaders import load_tokenizer
from axolotl.utils.data.shared import load_dataset_with_config
from axolotl.utils.logging import get_logger

from axolotl_dmt.checks.data_files import FIRST_ROWS, first_rows
from axolotl_dmt.checks.evaluation_files import check_lengths, length_warnings
from axolotl_dmt.checks.prompts import RunPrompts, check_asked, prompt_warnings, read_prompts
from axolotl_dmt.errors import DMTError, explain_load_errors, first_line
from axolotl_dmt.evaluation.tasks import Tasks
from axolotl_dmt.ranks import Ranks
from axolotl_dmt.results.folder import RunFolder
from axolotl_dmt.results.results import EVALUATE, Results
from axolotl_dmt.training.run import Run

LOG = get_logger("axolotl_dmt")


def run_prompts(run: Run, cfg: Any) -> RunPrompts:
    """Return the formats that a run is trained and asked in.

    Args:
        run: the checked run.
        cfg: Axolotl's validated configuration.

    Raises:
        DMTError: the tokenizer cannot be loaded.
    """
    with explain_load_errors(cfg):
        tokenizer = load_tokenizer(cfg)

    def rows(entry: Any) -> list[dict[str, Any]] | None:
        return first_rows(entry) or _loaded_rows(entry, cfg)

    evaluate = run.schedule.config.evaluate
    return read_prompts(cfg, run.schedule.dataset_domains, tokenizer, evaluate, read_rows=rows)


def _loaded_rows(entry: Any, cfg: Any) -> list[dict[str, Any]] | None:
    """Return the first rows of a dataset that Axolotl loads; None if only its copy is prepared."""
    try:
        source = load_dataset_with_config(entry, cfg.hf_use_auth_token)
        if isinstance(source, dict):
            source = source[entry.split or "train"]
        return [dict(source[index]) for index in range(min(FIRST_ROWS, len(source)))]
    except Exception:  # of the Hub, a reader of a file, or a file that is gone
        return None


def ask_as_trained(run: Run, cfg: Any, ranks: Ranks) -> RunPrompts | None:
    """Let the tasks of a run be asked as its domains are trained, and check them.

    Args:
        run: the checked run; its tasks are changed in place.
        cfg: Axolotl's validated configuration.
        ranks: the processes of the run.

    Returns:
        The formats that the run is trained and asked in; None where nothing is asked.

    Raises:
        DMTError: a task cannot be asked, loaded or scored.
    """
    if run.tasks is None:
        return None
    tasks, prompts = run.tasks, run_prompts(run, cfg)
    tasks.ask_as_trained(prompts.prompts)
    ranks.once_a_host(lambda: _check(tasks, cfg, prompts))
    return prompts


def _other_prompt(tasks: Tasks, cfg: Any) -> Iterator[str]:
    """Yield a line if a resumed run asked its earlier stages in another prompt."""
    file = RunFolder.of_config(cfg).results
    if not (cfg.resume_from_checkpoint or cfg.auto_resume_from_checkpoints) or not file.is_file():
        return
    recorded = Results.load(file).extra.get(EVALUATE)
    # Versions that recorded no prompt asked in `plain`.
    if recorded and (prompt := recorded.get("prompt", "plain")) != tasks.config.prompt:
        yield (
            f"the earlier stages of this run were asked in the prompt {prompt!r}; to compare their "
            f"scores, write dmt.evaluate.prompt: {prompt}"
        )


def _check(tasks: Tasks, cfg: Any, prompts: RunPrompts) -> None:
    evaluate = tasks.config
    check_asked(evaluate, prompts.prompts)
    lengths = check_lengths(cfg, evaluate, prompts.prompts, prompts.tokenizer)
    warnings: Iterable[str] = (*prompt_warnings(prompts, evaluate), *length_warnings(lengths))
    for warning in dict.fromkeys((*warnings, *_other_prompt(tasks, cfg))):
        LOG.warning(warning)
    try:
        loaded = tasks.load()
    except DMTError:
        raise
    except Exception as error:  # of lm-eval, a task or the Hub
        problem = f"cannot be loaded ({type(error).__name__}: {first_line(error)})"
        fix = "correct the task, or go online once to fetch its rows"
        raise DMTError("dmt.evaluate.tasks", problem, fix) from error
    for name, task in loaded.items():
        if getattr(task, "UNSAFE_CODE", False) and not evaluate.allow_unsafe_code:
            fix = "add allow_unsafe_code: true if you trust it, or leave the task out"
            raise DMTError("dmt.evaluate.tasks", f"{name} runs code that the model writes", fix)
