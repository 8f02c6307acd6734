"""`python -m axolotl_dmt.toy FOLDER`: write the data and the tiny model of the quickstart."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from axolotl_dmt.console import silence_known_noise
from axolotl_dmt.errors import DMTError
from axolotl_dmt.toy.skills import SKILLS, Row, make_rows

TRAIN = {"math": 8000, "code": 4000, "general": 6000}
TEST = 100
ROWS_PER_CHAT = 20
"""`chats.jsonl` has one additional row of a skill for this many rows in the skill's own file."""
PROMPT_AND_RESPONSE = {
    "math": ("question", "answer"),
    "code": ("prompt", "completion"),
    "general": ("prompt", "response"),
}


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Write one JSON object per line.

    Raises:
        OSError: If the file cannot be written.
    """
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def as_chats(skill: str, rows: Iterable[Row]) -> list[Row]:
    """Return rows of a skill in the format of general rows, tagged with the skill."""
    prompt, response = PROMPT_AND_RESPONSE[skill]
    return [
        {"prompt": row[prompt].rstrip("\n"), "response": row[response], "tag": skill}
        for row in rows
    ]


def make(
    folder: Path,
    seed: int,
    *,
    sizes: Mapping[str, int] = TRAIN,
    held_out: int = TEST,
    every_size: bool = False,
) -> None:
    """Write `data` and `base` into a folder.

    Args:
        folder: The folder, which is created if it is missing. Existing files are overwritten.
        seed: The same seed gives the same files.
        sizes: The number of training rows of each skill.
        held_out: The number of held-out items of each skill.
        every_size: Also write models of other sizes, into `base-0.1M` and so on.

    Raises:
        OSError: If the folder or a file cannot be written.
    """
    from axolotl_dmt.toy.model import (
        SIZES,
        save_base,
    )  # imports transformers, which takes some seconds

    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    texts: list[str] = []
    chats: list[Row] = []
    for skill in SKILLS:
        size = sizes[skill]
        # The rows after the first `size` are written to the chats only.
        train, test = make_rows(skill, train=size + size // ROWS_PER_CHAT, test=held_out, seed=seed)
        chats += as_chats(skill, train if skill == "general" else train[size:])
        train = train[:size]
        write_jsonl(data / f"{skill}.jsonl", train)
        write_jsonl(data / f"{skill}_test.jsonl", test)
        texts += [text for row in train[:2000] for text in row.values()]
    random.Random(seed).shuffle(chats)
    write_jsonl(data / "chats.jsonl", chats)
    save_base(folder / "base", texts, seed=seed)
    for name in SIZES if every_size else ():
        save_base(folder / f"base-{name}", texts, seed=seed, size=name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write the files.

    Raises:
        SystemExit: With code 2 if an option is wrong or the folder cannot be written.
    """
    parser = argparse.ArgumentParser(prog="python -m axolotl_dmt.toy", description=__doc__)
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        help="the folder to write, such as outputs/quickstart-data",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the data (default: %(default)s)"
    )
    for skill, rows in TRAIN.items():
        parser.add_argument(
            f"--{skill}",
            type=int,
            default=rows,
            metavar="ROWS",
            help="number of training rows (default: %(default)s)",
        )
    parser.add_argument(
        "--test",
        type=int,
        default=TEST,
        metavar="ITEMS",
        help="number of held-out items of each skill (default: %(default)s)",
    )
    parser.add_argument(
        "--every-size",
        action="store_true",
        help="also write models of 0.1 to 4 million parameters, into base-0.1M to base-4M",
    )
    options = parser.parse_args(arguments)
    silence_known_noise()
    sizes = {skill: getattr(options, skill) for skill in TRAIN}
    try:
        make(
            options.folder,
            options.seed,
            sizes=sizes,
            held_out=options.test,
            every_size=options.every_size,
        )
    except OSError as error:
        parser.error(f"FOLDER: {options.folder} cannot be written, {error.strerror}")
    except DMTError as error:
        parser.error(str(error))
    print(f"Wrote three skills and a tiny model to {options.folder}")


if __name__ == "__main__":
    main()
