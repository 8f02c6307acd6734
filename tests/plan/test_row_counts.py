"""What became of the rows of each dataset, in sentences and as a table."""

from __future__ import annotations

from dataclasses import asdict

from axolotl_dmt.plan.row_counts import RowCounts, counts_table, notes_on_rows

CLEAN = RowCounts(domain="math", dataset="m.jsonl", read=1200, tokenised=1200, kept=1200)
USUAL = ("dataset", "domain", "in the file", "too long", "no trained tokens", "exact copies")


def test_each_reason_is_a_sentence_with_its_count() -> None:
    assert notes_on_rows([CLEAN]) == []
    counts = RowCounts(
        domain="math",
        dataset="m.jsonl",
        read=90,
        too_long=1,
        too_short=2,
        truncated=3,
        untrained=4,
        duplicates=5,
        copies=6,
        contaminated=7,
        copies_of_held_out=8,
        kept=70,
    )
    notes = notes_on_rows([CLEAN, counts])
    assert [note.split(" of 90 rows of m.jsonl are ")[0] for note in notes] == list("12345678")
    assert "longer than sequence_len" in notes[0] and "held-out rows" in notes[-1]


def test_rows_that_become_more_sequences_are_counted_in_sequences() -> None:
    texts = RowCounts(domain="d", dataset="t", read=3, tokenised=9, untrained=1, kept=8)
    became, note = notes_on_rows([texts])
    assert became == "the 3 rows of t became 9 sequences"
    assert note.startswith("1 of 9 sequences of t are without a trained token")
    (note,) = notes_on_rows([RowCounts(domain="d", dataset="t", tokenised=9, untrained=1, kept=8)])
    assert note.startswith("1 of ? rows of t are")


def test_the_table_has_the_columns_that_say_something() -> None:
    header, rows = counts_table([CLEAN])
    assert header == (*USUAL, "kept")
    assert rows == [("m.jsonl", "math", "1,200", "?", "0", "0", "1,200")]
    held = RowCounts(domain="code", dataset="c", read=4, too_short=1, held_out=1, kept=2)
    header, rows = counts_table([CLEAN, held])
    assert header[2:] == (
        *("in the file", "too long", "too short", "no trained tokens", "exact copies"),
        *("held out", "kept"),
    )
    assert rows[1] == ("c", "code", "4", "?", "1", "0", "0", "1", "2")
    contaminated = RowCounts(domain="code", dataset="c", read=4, contaminated=1, kept=3)
    assert counts_table([contaminated])[0][-2:] == ("contaminated", "kept")
    texts = RowCounts(domain="code", dataset="c", read=4, tokenised=9, kept=9)
    assert counts_table([CLEAN, texts])[0][3] == "tokenised"


def test_a_table_for_others_leaves_out_the_folders_of_local_files() -> None:
    paths = ["/home/me/data/m.jsonl", "org/dataset"]
    counts = [RowCounts(domain="d", dataset=path, kept=1) for path in paths]
    assert [row[0] for row in counts_table(counts)[1]] == paths
    assert [row[0] for row in counts_table(counts=counts, names_only=True)[1]] == [
        "m.jsonl",
        paths[1],
    ]


def test_counts_survive_json_and_ignore_later_keys() -> None:
    assert RowCounts.from_json({**asdict(CLEAN), "later": 1}) == CLEAN
    old = RowCounts.from_json({"domain": "d", "dataset": "t", "kept": 3})
    assert (old.read, old.untrained, old.held_out, old.kept) == (None, 0, 0, 3)
