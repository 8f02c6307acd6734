"""The quickstart's data is reproducible and correct, and is tokenised alike in both uses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from axolotl_dmt import sandbox
from axolotl_dmt.checks.prompts import read_prompts
from axolotl_dmt.scoring import code, instructions, math
from axolotl_dmt.toy import __main__ as toy_command
from axolotl_dmt.toy.skills import FUNCTIONS, INSTRUCTIONS, SKILLS, Row, make_rows
from tests.mistakes import assert_mistake

QUICKSTART = yaml.safe_load(
    (Path(__file__).parents[2] / "yaml_templates/quickstart.yaml").read_text(encoding="utf-8")
)
GOLDEN = {
    "math": {
        "question": "Zoe has 3 boxes of 3 books. Then Eva takes 4. How many books are there?",
        "answer": "3 * 3 = 9\n9 - 4 = 5\n#### 5",
    },
    "code": {
        "prompt": 'def give_cups(x):\n    """Take 8 from x, then multiply by 14."""\n',
        "completion": "    return (x - 8) * 14\n",
    },
    "general": {
        "prompt": "Say the words in reverse: pens Mia cups Tom",
        "response": "Tom cups Mia pens",
    },
}
SMALL = {"math": 300, "code": 200, "general": 300}


@pytest.fixture(scope="module", params=SKILLS)
def rows(request: pytest.FixtureRequest) -> tuple[str, list[Row], list[Row]]:
    """Return a skill with its training rows and held-out items."""
    train, test = make_rows(request.param, train=600, test=60, seed=1)
    return request.param, train, test


def answer_of(skill: str, item: Row) -> str:
    """Return the correct answer to a held-out item."""
    fields = {"math": "answer", "code": "canonical_solution"}
    return str(item[fields[skill]] if skill in fields else item["kwargs"][0]["text"])


def question_without_names(skill: str, prompt: str, answer: str) -> str:
    """Return what a row asks, without the names in it, from its text alone."""
    if skill == "math":
        return answer  # the numbers, the operators and their order
    if skill == "code":
        return re.sub(r"\b(n|x|number)\b", "x", answer)
    return prompt


def verdicts(skill: str, items: list[Row], answers: list[str]) -> list[bool]:
    """Return whether the skill's scorer accepts each answer."""
    if skill == "math":
        pairs = zip(items, answers, strict=True)
        scores = [math.process_results(item, [answer]) for item, answer in pairs]
        return [score["dmt_score"] == score["strict_match"] == 1 for score in scores]
    if skill == "code":
        pairs = zip(items, answers, strict=True)
        programs = [code.humaneval_program(item, answer) for item, answer in pairs]
        return [o.passed for o in sandbox.run_programs(programs, allow_unsafe_code=True)]
    return [
        instructions.make_check(item["instruction_id_list"][0], item["kwargs"][0])(answer)
        for item, answer in zip(items, answers, strict=True)
    ]


def test_a_seed_gives_the_same_rows_and_another_seed_other_rows() -> None:
    for skill in SKILLS:
        first = make_rows(skill, train=50, test=10, seed=7)
        assert make_rows(skill, train=50, test=10, seed=7) == first
        assert make_rows(skill, train=50, test=10, seed=8) != first


def test_the_rows_of_seed_0_do_not_change() -> None:
    first = {skill: make_rows(skill, train=1, test=1, seed=0)[0][0] for skill in SKILLS}
    assert first == GOLDEN


def test_no_question_is_in_both_the_training_rows_and_the_held_out_items(
    rows: tuple[str, list[Row], list[Row]],
) -> None:
    skill, train, test = rows
    trained = {question_without_names(skill, *row.values()) for row in train}
    tested = [
        question_without_names(
            skill,
            next(v for k, v in item.items() if k in ("question", "prompt")),
            answer_of(skill, item),
        )
        for item in test
    ]
    assert len(set(tested)) == len(tested)
    assert trained.isdisjoint(tested)


def test_no_two_training_rows_have_the_same_prompt(rows: tuple[str, list[Row], list[Row]]) -> None:
    _, train, _ = rows
    prompts = [next(iter(row.values())) for row in train]
    assert len(set(prompts)) == len(prompts) == 600


def test_correct_answers_pass_and_other_items_answers_fail(
    rows: tuple[str, list[Row], list[Row]],
) -> None:
    skill, _, test = rows
    answers = [answer_of(skill, item) for item in test]
    assert all(verdicts(skill, test, answers))
    others = [*answers[1:], answers[0]]
    passed = verdicts(skill, test, others)
    # two arithmetic problems may have the same total; no other answers may coincide
    same = [gold(a) == gold(b) for a, b in zip(answers, others, strict=True)]
    assert passed == (same if skill == "math" else [False] * len(test))


def gold(answer: str) -> str:
    return answer.rsplit("#### ", 1)[-1]


def test_each_worked_step_is_correct() -> None:
    train, _ = make_rows("math", train=500, test=0, seed=2)
    signs = set()
    for row in train:
        *steps, total = row["answer"].split("\n")
        for step in steps:
            a, sign, b, result = re.fullmatch(r"(\d+) (.) (\d+) = (\d+)", step).groups()  # type: ignore[union-attr]
            signs.add(sign)
            values = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}
            assert values[sign] == int(result)
        assert total == f"#### {result}"
    assert signs == {"+", "-", "*"}


def test_every_kind_of_function_and_instruction_is_drawn_and_tested() -> None:
    _, tests = make_rows("code", train=0, test=120, seed=4)
    openings = {
        re.sub(r"\d+|\b(n|x|number)\b", "_", item["prompt"].split('"""')[1]) for item in tests
    }
    assert len(openings) == len(FUNCTIONS)
    # each function's tests reject a function that returns its argument, or nothing
    for wrong in ("    return {}\n", "    pass\n"):
        argument = [re.search(r"\((\w+)\)", item["prompt"])[1] for item in tests]  # type: ignore[index]
        assert not any(verdicts("code", tests, [wrong.format(name) for name in argument]))
    _, tests = make_rows("general", train=0, test=120, seed=4)
    assert {item["prompt"].split(":")[0] for item in tests} == {text for text, _ in INSTRUCTIONS}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the command twice with the same seed and fewer rows, and return the folder."""
    folder = tmp_path_factory.mktemp("made")
    toy_command.make(folder / "one", seed=5, sizes=SMALL)
    toy_command.make(folder / "two", seed=5, sizes=SMALL)
    return folder


def test_the_command_writes_the_same_bytes_for_the_same_seed(made: Path) -> None:
    one, two = (
        {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }
        for root in (made / "one", made / "two")
    )
    assert one == two
    assert {"base/config.json", "base/model.safetensors", "base/tokenizer.json"} <= set(one)


def test_the_quickstart_reads_the_files_that_the_command_writes(made: Path) -> None:
    named = [entry["path"] for entry in QUICKSTART["datasets"]]
    named += QUICKSTART["dmt"]["evaluate"]["data"].values()
    for path in [*named, QUICKSTART["base_model"]]:
        assert (made / "one" / Path(path).relative_to("outputs/quickstart-data")).exists(), path


def test_a_folder_that_cannot_be_created_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stop:
        toy_command.main([str(tmp_path / "file")])
    assert stop.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1].partition("error: ")[2]
    assert_mistake(message, "FOLDER", tmp_path / "file")


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tokenised(base: Path, domain: str, row: Row) -> dict[str, Any]:
    """Return a row as Axolotl tokenises it with the quickstart's YAML."""
    from axolotl.prompt_strategies.user_defined import UserDefinedDatasetConfig, load
    from transformers import AutoTokenizer

    entry = next(entry for entry in QUICKSTART["datasets"] if entry["domain"] == domain)
    settings = SimpleNamespace(train_on_inputs=False, sequence_len=QUICKSTART["sequence_len"])
    tokenizer = AutoTokenizer.from_pretrained(base)
    strategy = load(tokenizer, settings, UserDefinedDatasetConfig(**entry["type"]))
    return dict(strategy.tokenize_prompt(row))


def as_trained(made: Path, tokenizer: Any) -> dict[str, Any]:
    """Return the formats of the quickstart's rows, as a run saves them."""
    from axolotl.utils.dict import DictDefault

    folder = str(made / "one")
    text = yaml.safe_dump(QUICKSTART).replace("outputs/quickstart-data", folder)
    cfg = DictDefault(yaml.safe_load(text))
    domains = [entry["domain"] for entry in cfg.datasets]
    return read_prompts(cfg, domains, tokenizer, None).prompts.to_json()


@pytest.mark.parametrize("skill", SKILLS)
def test_training_and_evaluation_see_the_same_tokens(made: Path, skill: str) -> None:
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = made / "one/base"
    tokenizer = AutoTokenizer.from_pretrained(base)
    lm = HFLM(pretrained=AutoModelForCausalLM.from_pretrained(base), tokenizer=tokenizer)
    assert QUICKSTART["dmt"]["evaluate"]["prompt"] == "as_trained"
    module = {"math": math, "code": code, "general": instructions}[skill]
    settings = {
        f"dmt_{skill}_data": str(made / f"one/data/{skill}_test.jsonl"),
        "dmt_prompt": as_trained(made, tokenizer),
        "allow_unsafe_code": True,
    }
    items = read_rows(made / f"one/data/{skill}_test.jsonl")
    documents = list(module.dataset(**settings)["test"])
    assert len(documents) == len(items)
    for item, document in zip(items[:20], documents, strict=False):
        answer = answer_of(skill, item)
        # tokenise the held-out item as a training row
        fields = {"math": "answer", "code": "completion", "general": "response"}
        row = tokenised(base, skill, {**item, fields[skill]: answer})
        prompt = lm.tok_encode(module.doc_to_text(document) + "")
        length = row["labels"].count(-100)
        assert row["input_ids"][:length] == prompt
        assert row["labels"][length:] == row["input_ids"][length:]
        assert tokenizer.decode(row["input_ids"][length:-1]) == answer
        special = [id for id in row["input_ids"] if id in tokenizer.all_special_ids]
        assert special == [tokenizer.bos_token_id, tokenizer.eos_token_id]
        assert row["input_ids"][-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("skill", SKILLS)
def test_rows_fit_the_quickstarts_lengths(made: Path, skill: str) -> None:
    for row in read_rows(made / f"one/data/{skill}.jsonl")[:100]:
        tokens = tokenised(made / "one/base", skill, row)
        assert len(tokens["input_ids"]) < QUICKSTART["sequence_len"]
        answer = [label for label in tokens["labels"] if label != -100]
        assert len(answer) <= QUICKSTART["dmt"]["evaluate"]["max_new_tokens"]


def test_models_of_every_size_have_the_size_of_their_names(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    sizes = [f"--{skill}=20" for skill in SKILLS]
    toy_command.main([str(tmp_path), "--every-size", "--test=2", *sizes])
    counts = {
        path.name: AutoModelForCausalLM.from_pretrained(path).num_parameters() / 1e6
        for path in sorted(tmp_path.glob("base*"))
    }
    assert counts.pop("base") == counts["base-0.5M"]
    for name, count in counts.items():
        named = float(name.removeprefix("base-").removesuffix("M"))
        assert 0.85 < count / named < 1.2, (name, count)
    assert list(counts) == ["base-0.1M", "base-0.5M", "base-2M", "base-4M"]


def test_more_items_than_there_are_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        toy_command.main([str(tmp_path / "data"), "--test", "1660"])
    assert stop.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1].partition("error: ")[2]
    assert_mistake(message, "math", "1,650 items", "fewer than 1,660")
