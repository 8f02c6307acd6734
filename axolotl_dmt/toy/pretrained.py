"""`python -m axolotl_dmt.toy.pretrained FOLDER`: prepare a small pre-trained model and real data.

The command writes what `yaml_templates/smollm2.yaml` trains and scores on: SmolLM2-135M-Instruct in
FOLDER/model, and rows of GSM8K, Code Alpaca and Open-Assistant in FOLDER/data. With `--data`, the
rows come from a folder with these files, as their projects publish them, instead of from the hub:

    gsm8k_train.jsonl, gsm8k_test.jsonl   openai/grade-school-math
    codealpaca_2k.json                    sahil280114/codealpaca
    humaneval.jsonl                       openai/human-eval
    oasst_en_trees.jsonl                  LAION-AI/Open-Assistant, English trees
    ifeval_input_data.jsonl               google-research/instruction_following_eval
"""

from __future__ import annotations

from pathlib import Path

import click

from axolotl_dmt.console import echo
from axolotl_dmt.errors import DMTError
from axolotl_dmt.toy.real_data import write_domains
from axolotl_dmt.toy.smollm2 import save_smollm2

TRAIN = {"math": 160, "code": 96, "general": 96}
HELD_OUT = 40


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with the published files; by default the datasets come from the hub.",
)
@click.option("--math", default=TRAIN["math"], show_default=True, help="Rows of GSM8K to train on.")
@click.option(
    "--code", default=TRAIN["code"], show_default=True, help="Rows of Code Alpaca to train on."
)
@click.option(
    "--general",
    default=TRAIN["general"],
    show_default=True,
    help="Conversations of Open-Assistant to train on, about; trees are taken whole.",
)
@click.option(
    "--held-out",
    default=HELD_OUT,
    show_default=True,
    help="Rows of each domain to hold out, about.",
)
@click.option("--seed", default=0, show_default=True, help="The seed that chooses the rows.")
@click.option("--model/--no-model", default=True, help="Whether to fetch SmolLM2-135M-Instruct.")
def main(
    folder: Path,
    data: Path | None,
    math: int,
    code: int,
    general: int,
    held_out: int,
    seed: int,
    model: bool,
) -> None:
    """Write real data and a small pre-trained chat model into FOLDER."""
    train = {"math": math, "code": code, "general": general}
    try:
        rows = write_domains(
            folder / "data",
            data=data,
            train=train,
            held_out=dict.fromkeys(train, held_out),
            seed=seed,
        )
        if model:
            save_smollm2(folder / "model")
    except DMTError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        problem = f"{error.filename} cannot be written: {error.strerror}"
        raise click.ClickException(problem) from None
    for name, number in rows.items():
        echo(f"{number:>6,} rows  {folder / 'data' / name}")
    if model:
        echo(f"  SmolLM2-135M-Instruct  {folder / 'model'}")


if __name__ == "__main__":
    main()
