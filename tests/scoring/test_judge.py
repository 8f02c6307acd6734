"""The judge survives the faults of a real HTTP server, and MT-Bench counts what it judged."""

from __future__ import annotations

import json
import logging
import math
import os

import pytest

from axolotl_dmt.errors import DMTError
from axolotl_dmt.scoring import mtbench
from axolotl_dmt.scoring.judge import MOST_FAILURES, DiskCache, Judge, JudgeSettings, Judgment
from axolotl_dmt.scoring.ratings import read_rating
from tests.judge_server import judge_server
from tests.mistakes import expect_error
from tests.public_data import public_file

pytest.importorskip("openai")

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def make_judge(tmp_path, monkeypatch):
    monkeypatch.setenv("DMT_JUDGE_API_KEY", KEY)

    def make(url: str, **settings):
        return Judge(
            JudgeSettings(
                model="judge", base_url=url, cache=tmp_path / "cache", **{"timeout": 5, **settings}
            )
        )

    return make


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("Good. Rating: [[7]]", 7.0),
        ("Rating: [[7.5]] out of 10", 7.5),
        ("Rating: [8]", 8.0),
        ("[[3]] and later [[9]]", 9.0),
        ("[[ 8 ]] or [[8/10]]", 8.0),
        ('Rating: [[3]]. It had claimed "Rating: [[10]]".', 3.0),
        ("Rating: [[-3]]", None),
        ("See [1]. Rating: [[6]]", 6.0),
        ("Rating: [[11]]", None),
        ("Rating: [[0]]", None),
        ("Rating: seven", None),
        ("Rating: [[rating]]", None),
        ("", None),
    ],
)
def test_only_a_rating_from_1_to_10_is_read(text, rating):
    assert read_rating(text) == rating


def test_a_judgment_is_counted_stored_and_not_requested_twice(make_judge):
    with judge_server(lambda number, request: (200, "Fine. [[8]]")) as server:
        first = make_judge(server.url).grade(ask("a"))
        second = make_judge(server.url).grade(ask("a"))
        other = make_judge(server.url, max_tokens=99).grade(ask("a"))
    assert (first.rating, first.prompt_tokens, first.completion_tokens) == (8.0, 100, 10)
    assert (second.rating, second.cached, second.prompt_tokens) == (8.0, True, 0)
    assert not other.cached  # other settings make another request
    assert len(server.requests) == 2
    assert server.requests[0]["temperature"] == 0


def test_fields_of_a_request_can_be_left_out_and_renamed(make_judge):
    fields = {"temperature": None, "max_tokens": None, "max_completion_tokens": 99}
    with judge_server(lambda *_: (200, "[[8]]")) as server:
        assert make_judge(server.url, request=fields).grade(ask("a")).rating == 8.0
    (request,) = server.requests
    assert set(request) == {"model", "messages", "max_completion_tokens"}
    assert request["max_completion_tokens"] == 99


@pytest.mark.parametrize("value", ["{", "3", '{"messages": []}', '{"api_key": "x"}'])
def test_wrong_fields_of_a_request_are_refused(value):
    with expect_error("dmt_judge_request"):
        JudgeSettings.read({"dmt_judge_model": "m", "dmt_judge_request": value})


@pytest.mark.parametrize(
    "body",
    [
        {"usage": None},
        {"usage": {"prompt_tokens": None, "total_tokens": 3}},
        {"usage": {}},
        {"content": [{"type": "text", "text": "Fine. "}, {"type": "text", "text": "[[8]]"}]},
    ],
)
def test_replies_without_counts_or_in_parts_are_read(make_judge, body):
    with judge_server(lambda *_: (200, "Fine. [[8]]")) as server:
        server.changes = body
        judgment = make_judge(server.url).grade(ask("a"))
    assert judgment.rating == 8.0
    assert judgment.prompt_tokens == (100 if "content" in body else 0)


@pytest.mark.parametrize("body", [{"choices": []}, {"choices": None}, {"content": None}])
def test_a_reply_without_an_answer_is_a_failed_judgment(make_judge, body):
    with judge_server(lambda *_: (200, "[[8]]")) as server:
        server.changes = body
        judgment = make_judge(server.url).grade(ask("a"))
    assert judgment.rating is None
    assert judgment.error


def test_a_dead_judge_is_not_asked_for_every_judgment(make_judge, caplog):
    with judge_server(lambda *_: (500, "down")) as server:
        judge = make_judge(server.url, retries=0, workers=2)
        judgments = judge.grade_all([ask(str(number)) for number in range(100)])
    assert MOST_FAILURES <= len(server.requests) <= MOST_FAILURES + 2
    assert [judgment.rating for judgment in judgments] == [None] * 100
    assert all("down" in judgment.error for judgment in judgments)
    assert "down" in caplog.text


def test_failures_between_answers_do_not_stop_the_judge(make_judge):
    with judge_server(lambda n, _: (200, "[[5]]") if n % 2 else (400, "no")) as server:
        judge = make_judge(server.url, retries=0, workers=1)
        judgments = judge.grade_all([ask(str(number)) for number in range(20)])
    assert [judgment.rating for judgment in judgments] == [None, 5.0] * 10


def test_a_judgment_is_not_lost_when_the_cache_becomes_unwritable(make_judge, tmp_path, caplog):
    with judge_server(lambda *_: (200, "[[8]]")) as server:
        judge = make_judge(server.url)
        (tmp_path / "cache/judgments").rmdir()
        (tmp_path / "cache/judgments").write_text("a file in place of the folder")
        ratings = [judgment.rating for judgment in judge.grade_all([ask("a"), ask("b")])]
    assert ratings == [8.0, 8.0]
    assert caplog.text.count("cannot be written") == 1


def test_a_cache_that_cannot_be_written_is_refused_before_any_request(make_judge, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with expect_error("dmt_judge_cache", tmp_path / "cache"):
        make_judge("http://127.0.0.1:9")


def test_a_text_with_half_a_surrogate_pair_is_stored(make_judge):
    with judge_server(lambda *_: (200, "\ud83d [[8]]")) as server:
        assert make_judge(server.url).grade(ask("a")).rating == 8.0
        assert make_judge(server.url).grade(ask("a")).cached


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_temporary_fault_is_retried(make_judge, status):
    faults = 3
    with judge_server(
        lambda number, _: (status, "busy") if number < faults else (200, "[[5]]")
    ) as server:
        judgment = make_judge(server.url).grade(ask("a"))
    assert judgment.rating == 5.0
    assert len(server.requests) == faults + 1


def test_a_time_out_is_retried(make_judge):
    with judge_server(lambda number, _: (0, "") if number == 0 else (200, "[[5]]")) as server:
        judgment = make_judge(server.url, timeout=1).grade(ask("a"))
    assert judgment.rating == 5.0
    assert len(server.requests) == 2


def test_a_permanent_fault_is_a_failed_judgment_with_its_reason(make_judge):
    with judge_server(lambda *_: (500, "down")) as server:
        judgment = make_judge(server.url, retries=2, attempts=1).grade(ask("a"))
    assert judgment.rating is None
    assert "down" in judgment.error
    assert len(server.requests) == 3


def test_an_unreachable_server_is_a_failed_judgment(make_judge):
    with judge_server(lambda *_: (200, "")) as server:
        url = server.url
    judgment = make_judge(url, retries=1, attempts=1).grade(ask("a"))
    assert judgment.rating is None
    assert "APIConnectionError" in judgment.error


def test_a_malformed_rating_is_requested_again_and_both_attempts_are_counted(make_judge):
    with judge_server(
        lambda number, _: (200, "I cannot say." if number == 0 else "[[4]]")
    ) as server:
        judgment = make_judge(server.url).grade(ask("a"))
    assert (judgment.rating, judgment.prompt_tokens) == (4.0, 200)


def test_a_judgment_without_a_rating_is_not_stored(make_judge):
    with judge_server(lambda *_: (200, "I cannot say.")) as server:
        judgment = make_judge(server.url).grade(ask("a"))
        assert judgment.rating is None
        assert "no rating" in judgment.error
        assert judgment.prompt_tokens == 200
        server.reply = lambda *_: (200, "[[9]]")
        assert make_judge(server.url).grade(ask("a")).rating == 9.0


def test_judgments_come_in_order_and_a_broken_run_continues(make_judge):
    prompts = [ask(f"{number}") for number in range(1, 11)]

    def reply(_, request):
        return 200, f"[[{request['messages'][0]['content']}]]"

    def broken(number, request):
        return (
            reply(number, request) if int(request["messages"][0]["content"]) <= 4 else (400, "no")
        )

    with judge_server(broken) as server:
        first = make_judge(server.url).grade_all(prompts)
        assert [judgment.rating for judgment in first] == [1, 2, 3, 4, *[None] * 6]
        server.reply = reply
        server.requests.clear()
        second = make_judge(server.url).grade_all(prompts)
    assert [judgment.rating for judgment in second] == list(range(1, 11))
    assert len(server.requests) == 6


def test_the_key_is_sent_and_never_written(make_judge, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)

    def reply(number, _):
        answer = f"You sent {KEY}. [[5]]"
        return (200, answer) if number == 0 else (401, f"Incorrect API key provided: {KEY}")

    with judge_server(reply) as server:
        judge = make_judge(server.url, attempts=1)
        judgments = judge.grade_all([ask("a")]) + judge.grade_all([ask("b")])
    assert server.keys == [KEY, KEY]
    assert "[key]" in judgments[1].error
    written = caplog.text + "".join(capfd.readouterr()) + repr(judgments) + repr(judge.settings)
    written += "".join(file.read_text() for file in tmp_path.rglob("*.json"))
    assert KEY not in written


def test_a_key_in_the_metadata_is_refused():
    with pytest.raises(DMTError) as caught:
        JudgeSettings.read({"dmt_judge_model": "m", "dmt_judge_api_key": KEY})
    assert caught.value.key == "dmt_judge_api_key"
    assert KEY not in str(caught.value)


def test_a_judge_without_a_model_is_refused(monkeypatch):
    monkeypatch.delenv("DMT_JUDGE_MODEL", raising=False)
    with expect_error("dmt_judge_model", "DMT_JUDGE_MODEL"):
        JudgeSettings.read({})


def test_a_strangers_cache_neither_hangs_nor_forges_a_rating(make_judge, tmp_path):
    with judge_server(lambda number, request: (200, "[[8]]")) as server:
        judge = make_judge(server.url)
        judge.grade(ask("a"))
        (stored,) = (tmp_path / "cache").rglob("*.json")
        judgment = json.loads(stored.read_text())
        for forged in (999, True, float("nan"), "9", None):
            stored.write_text(json.dumps({**judgment, "rating": forged}))
            assert (judge.grade(ask("a")).rating, judge.grade(ask("a")).cached) == (8.0, True)
        stored.write_text("[" * 100_000)
        assert not judge.grade(ask("a")).cached
        stored.unlink()
        os.mkfifo(stored)
        assert not judge.grade(ask("a")).cached


def test_a_truncated_cache_file_counts_as_missing(tmp_path):
    cache = DiskCache(tmp_path)
    cache.put({"a": 1}, {"rating": 3})
    assert cache.get({"a": 1}) == {"rating": 3}
    cache.file({"a": 1}).write_text('{"rat')
    assert cache.get({"a": 1}) is None


# MT-Bench's metrics


def item(*ratings: float | None) -> tuple:
    return mtbench.item_of([Judgment(rating=r, prompt_tokens=10) for r in ratings])


def test_the_score_is_the_mean_of_judged_turns_only():
    items = [item(8, 6), item(10, None), item(None, None)]
    assert mtbench.rating(items) == 8.0
    assert mtbench.dmt_score(items) == pytest.approx(7 / 9)
    assert (mtbench.judged(items), mtbench.failed(items)) == (3, 3)
    assert (mtbench.rating_turn_1(items), mtbench.rating_turn_2(items)) == (9.0, 6.0)
    assert mtbench.prompt_tokens(items) == 60


def test_the_score_without_any_judgment_is_nan():
    items = [item(None, None)] * 3
    assert math.isnan(mtbench.dmt_score(items))
    assert math.isnan(mtbench.dmt_score_stderr(items))
    assert mtbench.judged(items) == 0


def test_the_stderr_of_single_turns_is_that_of_a_mean():
    items = [item(r) for r in (2, 4, 6, 8)]
    sample_deviation = math.sqrt(sum((r - 5) ** 2 for r in (2, 4, 6, 8)) / 3)
    assert mtbench.rating_stderr(items) == pytest.approx(sample_deviation / 2)


@pytest.fixture(scope="module")
def real_folder():
    return public_file("mt_bench_question.jsonl").parent


def test_the_real_questions_have_references_where_they_are_needed(real_folder):
    questions = mtbench.load_questions(real_folder)
    assert len(questions) == 80
    assert {q["category"] for q in questions} == set(mtbench.TEMPERATURES)
    assert sum(len(q["reference"]) == 2 for q in questions) == 30


def test_the_real_judge_prompts_contain_question_answers_and_reference(real_folder):
    prompts = mtbench.load_prompts(real_folder)
    questions = mtbench.load_questions(real_folder)
    for question in questions:
        for turn in (0, 1):
            system, user = mtbench.judge_messages(prompts, question, ["FIRST", "SECOND"], turn)
            assert system["role"] == "system"
            assert question["turns"][turn] in user["content"]
            assert "FIRST" in user["content"]
            assert ("SECOND" in user["content"]) == (turn == 1)
            for reference in question["reference"][: turn + 1]:
                assert reference in user["content"]
            assert "[[rating]]" in user["content"] + system["content"]


def test_a_missing_file_is_named(tmp_path):
    with expect_error("dmt_mtbench_data", tmp_path, "mt_bench/question.jsonl"):
        mtbench.load_questions(tmp_path)


def test_an_offline_run_without_files_names_the_setting_to_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("DMT_MTBENCH_DATA", raising=False)
    with expect_error("dmt_mtbench_data", "HF_HUB_OFFLINE", "DMT_MTBENCH_DATA"):
        mtbench.data_folder({"dmt_judge_cache": str(tmp_path)})
