"""Our checkers and IFEval's decide whether an answer follows its instructions, or are refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import subprocess
import sys
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from axolotl_dmt.scoring import instructions, punkt
from tests.mistakes import expect_error
from tests.public_data import public_file

FOLLOWED = [
    ("dmt:equals", {"text": "a b"}, " a b\n"),
    ("dmt:equals", {"text": "A B", "ignore_case": True}, "a b"),
    ("dmt:one_of", {"texts": ["yes", "no"]}, "no"),
    ("dmt:starts_with", {"text": "Dear"}, "Dear all"),
    ("dmt:ends_with", {"text": "bye"}, "so bye "),
    ("dmt:contains", {"text": "mid"}, "amid it"),
    ("dmt:excludes", {"text": "z"}, "abc"),
    ("dmt:matches", {"pattern": r"\d+ (cat|dog)s"}, "12 cats"),
    ("dmt:word_count", {"at_least": 2, "at_most": 3}, "one two three"),
    ("punctuation:no_comma", {}, "none here"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n* two"),
    ("keywords:existence", {"keywords": ["sun", "moon"]}, "The sun and the moon."),
    ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "one two three"),
    ("change_case:english_lowercase", {}, "all of this is written in lower case letters"),
    ("startend:quotation", {}, '"quoted"'),
    (
        "keywords:letter_frequency",
        {"let_relation": "at least", "letter": "!", "let_frequency": 2},
        "a!!",
    ),
    ("language:response_language", {"language": "de"}, "Das ist ein deutscher Satz mit Wörtern."),
]
BROKEN = [
    ("dmt:equals", {"text": "a b"}, "a  b"),
    ("dmt:one_of", {"texts": ["yes", "no"]}, "maybe"),
    ("dmt:starts_with", {"text": "Dear"}, "Oh dear"),
    ("dmt:ends_with", {"text": "bye"}, "bye now"),
    ("dmt:contains", {"text": "mid"}, "end"),
    ("dmt:excludes", {"text": "z"}, "abz"),
    ("dmt:excludes", {"text": "z"}, "  "),  # no answer follows no instruction
    ("dmt:matches", {"pattern": r"\d+"}, "12 cats"),
    ("dmt:word_count", {"at_most": 2}, "one two three"),
    ("punctuation:no_comma", {}, "one, here"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one"),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "one two three"),
    ("language:response_language", {"language": "de"}, "This is an English sentence."),
]


@pytest.mark.parametrize(("instruction", "arguments", "answer"), FOLLOWED)
def test_an_answer_that_follows_its_instruction_passes(instruction, arguments, answer):
    assert instructions.instructions_followed([(instruction, arguments)], answer) == [True]


@pytest.mark.parametrize(("instruction", "arguments", "answer"), BROKEN)
def test_an_answer_that_breaks_its_instruction_fails(instruction, arguments, answer):
    assert instructions.instructions_followed([(instruction, arguments)], answer) == [False]


def test_our_verdicts_are_those_of_lm_evals_strict_scoring():
    cases = [case for case in FOLLOWED + BROKEN if not case[0].startswith("dmt:")]
    # lm-eval replaces `!` by a random letter, so there is nothing to compare with.
    cases = [case for case in cases if case[1].get("letter") != "!"]
    instructions.ifeval()
    from lm_eval.tasks.ifeval.utils import process_results

    for instruction, arguments, answer in cases:
        doc = {
            "key": 0,
            "prompt": "p",
            "instruction_id_list": [instruction],
            "kwargs": [{**arguments, "absent": None}],
        }
        lm_eval = process_results(doc, [answer])
        assert (
            instructions.instructions_followed([(instruction, arguments)], answer)
            == lm_eval["inst_level_strict_acc"]
        )


LOOSELY_FOLLOWED = [
    ("startend:quotation", {}, 'Sure!\n"quoted"'),
    ("punctuation:no_comma", {}, "Well, here it is:\nno comma\nDone, bye"),
    ("dmt:equals", {"text": "Rome"}, "**Rome**"),
    ("detectable_format:json_format", {}, 'Here:\n{"a": 1}'),
]


@pytest.mark.parametrize(("instruction", "arguments", "answer"), LOOSELY_FOLLOWED)
def test_the_loose_accuracy_forgives_an_introduction_an_ending_and_asterisks(
    instruction, arguments, answer
):
    check = [(instruction, arguments)]
    assert instructions.instructions_followed(check, answer) == [False]
    assert instructions.instructions_followed(check, answer, loose=True) == [True]


def test_both_accuracies_of_ifevals_prompts_are_those_of_lm_eval():
    file = public_file("ifeval_input_data.jsonl")
    docs = instructions.dataset(dmt_general_data=str(file))["test"]
    rows = {row["prompt"]: row for row in map(json.loads, file.read_text().splitlines())}
    from lm_eval.tasks.ifeval.utils import process_results

    answer = "Sure, here it is:\n\n**<<A title>>**\n* one\n* two\n\nP.S. THE END of it"
    for doc in list(docs)[::4]:
        row = rows[doc["prompt"]]
        if any(kwargs.get("letter") in ("!", "#") for kwargs in row["kwargs"]):
            continue  # lm-eval replaces them by random letters
        ours, theirs = instructions.process_results(doc, [answer]), process_results(row, [answer])
        assert ours["instruction_accuracy"] == theirs["inst_level_strict_acc"]
        assert ours["loose_instruction_accuracy"] == theirs["inst_level_loose_acc"]
        assert ours["dmt_score"] == theirs["prompt_level_strict_acc"]
        assert ours["loose_score"] == theirs["prompt_level_loose_acc"]


def test_every_checker_of_ifeval_can_be_imported():
    assert len(instructions.ifeval()) >= 25
    assert set(instructions.ifeval()) > instructions.NEEDS_PUNKT


@pytest.mark.parametrize(
    ("instruction", "arguments", "named"),
    [
        ("dmt:equal", {}, "dmt:equal"),
        ("dmt:equals", {"txt": "a"}, "txt"),
        ("dmt:matches", {"pattern": "("}, "pattern"),
        ("dmt:equals", {"text": 42}, "text"),
        ("dmt:contains", {"text": 42}, "text"),
        ("dmt:excludes", {"text": ["a"]}, "text"),
        ("dmt:starts_with", {"text": 4}, "text"),
        ("dmt:ends_with", {"text": 4}, "text"),
        ("dmt:one_of", {"texts": "yes"}, "list"),
        ("dmt:one_of", {"texts": [1, 2]}, "texts"),
        ("dmt:word_count", {"at_least": "3"}, "'3'"),
        ("dmt:word_count", {"at_most": True}, "True"),
        ("dmt:equals", ["a"], "['a']"),
        ("length_constraints:number_words", {"num_words": 3}, "relation"),
        ("length_constraints:number_words", {"num_words": 3, "relation": None}, "relation"),
        ("length_constraints:number_words", {"num_words": -3, "relation": "at least"}, "num_words"),
        ("punctuation:no_comma", {"x": 1}, "x"),
    ],
)
def test_a_wrong_instruction_is_refused_by_name(instruction, arguments, named):
    with expect_error("dmt_general_data", instruction, named):
        instructions.make_check(instruction, arguments)


def write(folder, *rows):
    file = folder / "general.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return str(file)


def row(*checks, prompt="p"):
    return {
        "key": 0,
        "prompt": prompt,
        "instruction_id_list": [instruction for instruction, _ in checks],
        "kwargs": [arguments for _, arguments in checks],
    }


def test_prompts_that_need_missing_data_are_left_out_and_counted(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(instructions, "fetch_punkt", lambda: False)
    sentences = (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
    )
    file = write(tmp_path, row(("dmt:equals", {"text": "a"})), row(sentences), row(sentences))
    docs = instructions.dataset(dmt_general_data=file)["test"]
    assert len(docs) == 1
    assert instructions.process_results(docs[0], ["a"])["skipped"] == 2
    assert "2 of 3" in caplog.text
    assert "python -m nltk.downloader punkt_tab" in caplog.text


def test_a_file_without_a_checkable_prompt_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(instructions, "fetch_punkt", lambda: False)
    capitals = (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
    )
    with expect_error("dmt_general_data", "punkt_tab"):
        instructions.dataset(dmt_general_data=write(tmp_path, row(capitals)))


def test_instructions_without_their_kwargs_are_refused(tmp_path):
    bad = {"prompt": "p", "instruction_id_list": ["dmt:equals"], "kwargs": []}
    with expect_error("dmt_general_data", 1, 0, "'p'"):
        instructions.dataset(dmt_general_data=write(tmp_path, bad))


def test_a_prompt_passes_only_with_all_its_instructions(tmp_path):
    checks = (("dmt:starts_with", {"text": "a"}), ("punctuation:no_comma", {}))
    (doc,) = instructions.dataset(dmt_general_data=write(tmp_path, row(*checks)))["test"]
    half = instructions.process_results(doc, ["a, b"])
    assert (half["dmt_score"], half["instruction_accuracy"]) == (0.0, [True, False])
    assert instructions.process_results(doc, ["a b"])["dmt_score"] == 1.0


def test_rows_with_different_arguments_keep_their_own(tmp_path):
    file = write(
        tmp_path,
        row(("dmt:equals", {"text": "a"})),
        row(("dmt:word_count", {"at_least": 2})),
        row(("dmt:one_of", {"texts": ["b"]})),
    )
    docs = instructions.dataset(dmt_general_data=file)["test"]
    answers = ["a", "two words", "b"]
    scores = [
        instructions.process_results(doc, [answer])["dmt_score"]
        for doc, answer in zip(docs, answers, strict=True)
    ]
    assert scores == [1.0, 1.0, 1.0]


def test_the_instruction_level_stderr_treats_prompts_as_independent():
    items = [[True, False], [True], [True, True, False]]
    assert instructions.instruction_accuracy(items) == pytest.approx(4 / 6)
    # With one instruction per prompt it is the usual standard error of a mean.
    single = [[True], [False], [True], [True]]
    assert instructions.instruction_accuracy_stderr(single) == pytest.approx(
        math.sqrt(0.75 / 3 / 4)
    )
    assert math.isnan(instructions.instruction_accuracy_stderr([[True]]))


def test_the_checkers_load_without_a_download():
    code = (
        "import nltk, socket\n"
        "def refuse(*_, **__): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "from axolotl_dmt.scoring.instructions import ifeval\n"
        "assert len(ifeval()) >= 25\n"
        "assert nltk.download.__module__.startswith('nltk')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Downloaded" not in done.stdout


# nltk's data


@pytest.fixture
def nltk_server(tmp_path, monkeypatch):
    """Serve an index with a small `punkt_tab`, from which an empty folder can be filled."""
    import nltk

    site, folder = tmp_path / "site", tmp_path / "nltk_data"
    site.mkdir()
    folder.mkdir(mode=0o700)
    with zipfile.ZipFile(site / "punkt_tab.zip", "w") as archive:
        archive.writestr("punkt_tab/english/abbrev_types.txt", "dr\n")
    content = (site / "punkt_tab.zip").read_bytes()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(site))

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    package = (
        f'<package id="punkt_tab" name="p" subdir="tokenizers" unzip="1" size="{len(content)}" '
        f'unzipped_size="3" checksum="{hashlib.md5(content).hexdigest()}" '
        f'sha256_checksum="{hashlib.sha256(content).hexdigest()}" url="{url}/punkt_tab.zip"/>'
    )
    (site / "index.xml").write_text(f"<nltk_data><packages>{package}</packages></nltk_data>")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    downloader = nltk.downloader.Downloader(f"{url}/index.xml", str(folder))
    monkeypatch.setattr(nltk, "download", downloader.download)
    monkeypatch.setattr(nltk.data, "path", [str(folder)])
    with contextlib.suppress(ImportError):
        from nltk import pathsec  # refuses to connect to this machine

        monkeypatch.setattr(pathsec, "ENFORCE", False)
    for name in punkt.OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()


def test_missing_data_of_nltk_is_downloaded(nltk_server):
    assert not punkt.has_punkt()
    assert punkt.fetch_punkt()
    assert punkt.has_punkt()


def test_nothing_is_downloaded_offline(nltk_server, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not punkt.fetch_punkt()


def test_a_server_that_does_not_answer_leaves_the_data_missing(nltk_server):
    nltk_server.shutdown()
    nltk_server.server_close()
    assert not punkt.fetch_punkt()
