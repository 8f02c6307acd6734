"""`python -m axolotl_dmt.toy FOLDER`: write the quickstart's data and its tiny model."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from axolotl_dmt.toy.skills import SKILLS, Row, make_rows

TRAIN = {"math": 8000, "code": 4000, "general": 6000}
TEST = 100
CHATS = 20
"""In `chats.jsonl`: one more row of a skill for so many rows of its own file."""
FIELDS = {
    "math": ("question", "answer"),
    "code": ("prompt", "completion"),
    "general": ("prompt", "response"),
}


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Write one JSON object a line."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def as_chats(skill: str, rows: Iterable[Row]) -> list[Row]:
    """Rows of a skill as general rows are written, tagged with the skill."""
    prompt, response = FIELDS[skill]
    return [
        {"prompt": row[prompt].rstrip("\n"), "response": row[response], "tag": skill}
        for row in rows
    ]


def make(
    folder: Path, seed: int, *, sizes: Mapping[str, int] = TRAIN, held_out: int = TEST
) -> None:
    """Write `data` and `base` under a folder.

    Args:
        folder: made if it is missing; files of an earlier call are written over.
        seed: the same seed gives the same files.
        sizes: training rows of each skill.
        held_out: items of each skill to score on.
    """
    from axolotl_dmt.toy.model import save_base  # loads transformers: some seconds

    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    texts: list[str] = []
    chats: list[Row] = []
    for skill in SKILLS:
        size = sizes[skill]
        # The last rows, which no other file holds, are for the chats.
        train, test = make_rows(skill, train=size + size // CHATS, test=held_out, seed=seed)
        chats += as_chats(skill, train if skill == "general" else train[size:])
        train = train[:size]
        write_jsonl(data / f"{skill}.jsonl", train)
        write_jsonl(data / f"{skill}_test.jsonl", test)
        texts += [text for row in train[:2000] for text in row.values()]
    random.Random(seed).shuffle(chats)
    write_jsonl(data / "chats.jsonl", chats)
    save_base(folder / "base", texts, seed=seed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(prog="python -m axolotl_dmt.toy", description=__doc__)
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        help="where to write, such as outputs/quickstart-data",
    )
    parser.add_argument("--seed", type=int, default=0, help="which data (default: %(default)s)")
    for skill, rows in TRAIN.items():
        parser.add_argument(
            f"--{skill}",
            type=int,
            default=rows,
            metavar="ROWS",
            help="training rows (default: %(default)s)",
        )
    parser.add_argument(
        "--test",
        type=int,
        default=TEST,
        metavar="ITEMS",
        help="held-out items of each skill (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    sizes = {skill: getattr(options, skill) for skill in TRAIN}
    try:
        make(options.folder, options.seed, sizes=sizes, held_out=options.test)
    except OSError as error:
        parser.error(f"FOLDER: {options.folder} cannot be written, {error.strerror}")
    print(f"Wrote three skills and a tiny model to {options.folder}")


if __name__ == "__main__":
    main()
