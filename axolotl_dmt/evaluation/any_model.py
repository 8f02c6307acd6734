"""Scores any model: a folder, an adapter, a name on the Hub, or a model that a server offers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from axolotl_dmt.config.args import EvaluateConfig
from axolotl_dmt.errors import DMTError
from axolotl_dmt.evaluation.saved import chat_url, score_loaded, score_saved_stage, served_model
from axolotl_dmt.evaluation.scores import Evaluation
from axolotl_dmt.evaluation.tasks import Tasks
from axolotl_dmt.results.folder import RunFolder, load_results
from axolotl_dmt.scoring.prompts import AS_TRAINED, TrainedPrompts

HOW_TO_NAME: Final = "give a folder with a model, a name on the Hub, or URL#NAME of a served model"


@dataclass(frozen=True, kw_only=True)
class AnyModel:
    """A model to score.

    Attributes:
        name: its name in tables.
        path: its folder or its name on the Hub; empty for a served model.
        url: the URL that a server answers chats at; None for other models.
        served: what the server calls the model; empty for other models.
    """

    name: str
    path: str = ""
    url: str | None = None
    served: str = ""

    @classmethod
    def of(cls, text: str) -> AnyModel:
        """Return the model that a text on the command line names.

        Raises:
            DMTError: there is no such folder, or it holds no model.
        """
        if text.startswith(("http://", "https://")):
            return cls._served(text)
        folder = Path(text)
        if not folder.is_dir():
            if text.startswith(("/", ".", "~")) or text.count("/") > 1 or folder.exists():
                raise DMTError("MODEL", f"there is no folder {text}", HOW_TO_NAME)
            return cls(name=text, path=text)
        run = RunFolder(folder)
        if run.results.is_file():
            return cls._last_stage(run)
        if not any((folder / file).is_file() for file in ("config.json", "adapter_config.json")):
            raise DMTError("MODEL", f"the folder {text} holds neither model nor run", HOW_TO_NAME)
        return cls(name=folder.resolve().name, path=str(folder))

    @classmethod
    def _served(cls, text: str) -> AnyModel:
        url, _, name = text.partition("#")
        if not name:
            fix = f"add the model's name: {text}#NAME"
            raise DMTError("MODEL", f"{text} does not say which model", fix)
        return cls(name=name, url=chat_url(url), served=name)

    @classmethod
    def _last_stage(cls, run: RunFolder) -> AnyModel:
        stages = load_results(run.output_dir).stages
        folder = run.model_of(len(stages) - 1, stages[-1]) if stages else None
        if folder is None or not folder.is_dir():
            fix = "give the folder of one of its models"
            raise DMTError("MODEL", f"the run {run.output_dir} has no saved last stage", fix)
        return cls(name=f"{run.output_dir.resolve().name}: {stages[-1].name}", path=str(folder))


def score_any(model: AnyModel, config: EvaluateConfig) -> Evaluation:
    """Score a model in the prompts that suit it.

    Unless the block names a prompt or the chat template: a model with `dmt_prompts.json` beside it
    is asked as it was trained, another one in its tokenizer's chat template, and one without such
    a template in `plain`. A server applies the chat template itself.

    Args:
        model: the model.
        config: the `dmt.evaluate` block.

    Returns:
        The evaluation; if it fails, its `error` says why.

    Raises:
        DMTError: `config` has a mistake.
    """
    if model.url is not None:
        tasks = Tasks(config.model_copy(update={"apply_chat_template": True}))
        arguments = {"base_url": model.url, **(config.model_args or {})}
        return score_loaded(tasks, lambda: served_model(model.served, arguments))
    return score_saved_stage(Path(model.path), asked(model, config))


def asked(model: AnyModel, config: EvaluateConfig) -> EvaluateConfig:
    """Return the block with the prompt that a model is asked in, as `score_any` describes."""
    is_chosen = config.apply_chat_template or config.prompt != AS_TRAINED
    if is_chosen or TrainedPrompts.beside(model.path) is not None:
        return config
    if _has_chat_template(model.path):
        return config.model_copy(update={"apply_chat_template": True})
    return config.model_copy(update={"prompt": "plain"})


def _has_chat_template(path: str) -> bool:
    from transformers import AutoTokenizer

    try:
        return bool(AutoTokenizer.from_pretrained(path).chat_template)
    except (OSError, ValueError):
        return False  # loading the model reports what is wrong
