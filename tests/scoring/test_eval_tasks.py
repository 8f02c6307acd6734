"""lm-eval runs every task on local data with scripted and tiny models, and reports our metrics."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.judge_server import judge_server
from tests.mistakes import expect_error

TASKS = Path(__file__).parents[2] / "eval_tasks"
SUITE = ("dmt_math", "dmt_code", "dmt_general")

# Sizes differ, so that an unweighted mean is not the weighted one.
MATH = [
    {"question": f"What is {n}+{n}?", "answer": f"{n}+{n}={2 * n}\n#### {2 * n}"}
    for n in range(1, 6)
]
CODE = [
    {
        "task_id": f"t/{n}",
        "prompt": f"def add_{n}(x):\n",
        "canonical_solution": f"    return x + {n}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {n + 1}\n",
        "entry_point": f"add_{n}",
    }
    for n in range(1, 4)
]
GENERAL = [
    {
        "key": n,
        "prompt": f"Say w{n}",
        "instruction_id_list": ["dmt:equals", "punctuation:no_comma"],
        "kwargs": [{"text": f"w{n}"}, {}],
    }
    for n in range(2)
]
RIGHT = {
    "dmt_math": {row["question"]: row["answer"] for row in MATH},
    "dmt_code": {row["prompt"]: row["canonical_solution"] for row in CODE},
    "dmt_general": {row["prompt"]: row["kwargs"][0]["text"] for row in GENERAL},
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("DMT_") and name != "DMT_TEST_DATA":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_machine_description(monkeypatch):
    """Skip lm-eval's description of the machine, which takes two seconds per run."""
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda _: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Write local files for the three tasks and return the settings that name them."""
    folder = tmp_path_factory.mktemp("data")
    settings = {}
    for ability, rows in (("math", MATH), ("code", CODE), ("general", GENERAL)):
        file = folder / f"{ability}.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in rows))
        settings[f"dmt_{ability}_data"] = str(file)
    return {**settings, "allow_unsafe_code": True}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from tests.tiny_model import make_model

    return make_model(tmp_path_factory.mktemp("tiny"))


def evaluate(model, tasks, metadata, **settings):
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata=metadata)
    return lm_eval.simple_evaluate(
        model=model,
        tasks=list(tasks),
        task_manager=manager,
        bootstrap_iters=100,
        random_seed=None,
        numpy_random_seed=None,
        torch_random_seed=None,
        **settings,
    )


def scripted(*skilled: str):
    """Return a model that answers every question of these tasks correctly, and no other."""
    from tests.scripted_lm import ScriptedLM

    answers = {q: a for task in skilled for q, a in RIGHT[task].items()}

    def script(prompt: str) -> str:
        questions = [question for question in answers if question.strip() in prompt]
        return answers[max(questions, key=prompt.rfind)] if questions else "none"

    return ScriptedLM(script)


def scores(output) -> dict[str, float]:
    return {task: output["results"][task]["dmt_score,none"] for task in output["results"]}


def test_a_perfect_model_scores_one_and_a_silent_one_zero(data):
    assert set(scores(evaluate(scripted(*SUITE), ["dmt_suite"], data)).values()) == {1.0}
    assert set(scores(evaluate(scripted(), ["dmt_suite"], data)).values()) == {0.0}


@pytest.mark.parametrize("task", SUITE)
def test_the_suites_mean_moves_by_a_third_with_each_of_its_tasks(data, task):
    score = scores(evaluate(scripted(task), ["dmt_suite"], data))
    assert score.pop(task) == 1.0
    assert score.pop("dmt_suite") == pytest.approx(1 / 3)
    assert set(score.values()) == {0.0}
    assert set(score) | {task} == set(SUITE)


def test_the_suite_reports_each_task_with_its_stderr(data):
    output = evaluate(scripted("dmt_math"), ["dmt_suite"], data)
    assert set(output["group_subtasks"]["dmt_suite"]) == set(SUITE)
    for task in (*SUITE, "dmt_suite"):
        assert isinstance(output["results"][task]["dmt_score_stderr,none"], float)
    row = output["results"]["dmt_math"]
    assert row["strict_match,none"] == 1.0


def test_the_stderr_is_that_of_a_mean(data):
    from tests.scripted_lm import ScriptedLM

    answers = iter([row["answer"] for row in MATH[:3]] + ["none"] * 2)
    output = evaluate(ScriptedLM(lambda _: next(answers)), ["dmt_math"], data)
    row = output["results"]["dmt_math"]
    assert row["dmt_score,none"] == pytest.approx(0.6)
    assert row["dmt_score_stderr,none"] == pytest.approx(math.sqrt(0.6 * 0.4 / 4))


def task_settings(file: Path) -> dict:
    """Read a task's YAML with what it includes; versions of lm-eval differ in how they do it."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
    settings = yaml.load(file.read_text(), Loader)
    included = settings.pop("include", None)
    return {**task_settings(file.parent / included), **settings} if included else settings


@pytest.mark.parametrize("file", sorted(TASKS.rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_task_reports_dmt_score_and_does_not_stop_at_an_empty_line(file):
    task = task_settings(file)
    if "group" in task:
        assert task["aggregate_metric_list"] == [
            {
                "metric": "dmt_score",
                "aggregation": "mean",
                "weight_by_size": False,
                "filter_list": ["none"],
            }
        ]
        return
    assert [entry["name"] for entry in task["filter_list"]] == ["none"]
    if "class" not in task:
        assert "dmt_score" in [metric["metric"] for metric in task["metric_list"]]
    assert not any(stop.strip() == "" for stop in task["generation_kwargs"]["until"])
    assert task["metadata"]["version"]
    assert task["dataset_kwargs"]["generation"] is task["generation_kwargs"]


@pytest.mark.parametrize(
    "file", sorted(TASKS.rglob("utils*.py")), ids=lambda f: f"{f.parent.name}/{f.stem}"
)
def test_importing_a_tasks_helper_loads_nothing_heavy(file):
    heavy = ["torch", "transformers", "axolotl", "nltk", "sympy", "openai", "langdetect"]
    if file.stem != "utils_mtbench":  # a class of lm-eval's, loaded for this task alone
        heavy += ["datasets", "lm_eval"]
    code = (
        "import runpy, sys\n"
        f"runpy.run_path({str(file)!r})\n"
        f"print([name for name in {heavy!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


# lm-eval's options


def prompts(model) -> list[str]:
    return [prompt for prompt, _ in model.asked]


def test_the_prompt_is_the_question_in_the_training_template(data):
    question = MATH[0]["question"]
    for prompt, expected in (
        ("plain", f"{question}\n"),
        ("vicuna", f" USER: {question} ASSISTANT:"),
        ("alpaca", f"### Instruction:\n{question}\n\n### Response:\n"),
        ("Q: {question}\\nA:", f"Q: {question}\nA:"),
    ):
        model = scripted("dmt_math")
        evaluate(model, ["dmt_math"], {**data, "dmt_prompt": prompt})
        assert prompts(model)[0].endswith(expected)
        assert prompts(model)[0].count(question) == 1


def test_a_chat_template_replaces_the_training_template(data):
    model = scripted(*SUITE)
    metadata = {**data, "dmt_prompt": "vicuna"}
    output = evaluate(model, ["dmt_suite"], metadata, apply_chat_template=True)
    assert f"user> {MATH[0]['question']}|\nassistant>" in prompts(model)
    assert f"user> {GENERAL[0]['prompt']}|\nassistant>" in prompts(model)
    assert not any("USER:" in prompt for prompt in prompts(model))
    assert scores(output)["dmt_suite"] == 1.0


def test_few_shot_examples_come_with_answers_in_the_template(data):
    model = scripted("dmt_math")
    output = evaluate(
        model, ["dmt_math"], {**data, "dmt_prompt": "Q: {question}\nA:"}, num_fewshot=2
    )
    prompt = prompts(model)[0]
    assert prompt.count("Q: ") == 3
    assert prompt.count("\n#### ") == 2
    assert "\nA: The baker" in prompt  # with the space between the template and an answer
    assert prompt.endswith(f"\n\nQ: {MATH[0]['question']}\nA:")
    assert output["n-shot"]["dmt_math"] == 2


def test_dmt_math_cot_has_eight_examples_and_accepts_others(data, tmp_path):
    model = scripted("dmt_math")
    evaluate(model, ["dmt_math_cot"], data)
    assert prompts(model)[0].count("####") == 8
    file = tmp_path / "shots.jsonl"
    file.write_text('{"question": "MINE", "answer": "#### 1"}\n')
    evaluate(
        model := scripted("dmt_math"),
        ["dmt_math"],
        {**data, "dmt_math_fewshot": str(file)},
        num_fewshot=1,
    )
    assert prompts(model)[0].startswith("MINE\n#### 1\n\n")


def test_limit_and_generation_settings_pass_through(data):
    model = scripted(*SUITE)
    output = evaluate(
        model,
        ["dmt_suite"],
        data,
        limit=2,
        gen_kwargs={"max_gen_toks": 7, "temperature": 0.5, "do_sample": True},
    )
    assert {n["effective"] for n in output["n-samples"].values()} == {2}
    assert all(s["max_gen_toks"] == 7 and s["temperature"] == 0.5 for _, s in model.asked)


def test_the_answer_length_comes_from_gen_kwargs_before_the_setting(data):
    def length(metadata, **settings):
        evaluate(model := scripted("dmt_math"), ["dmt_math"], metadata, **settings)
        return {asked["max_gen_toks"] for _, asked in model.asked}

    assert length(data) == {512}
    assert length({**data, "dmt_max_gen_toks": 99}) == {99}
    assert length({**data, "dmt_max_gen_toks": 99}, gen_kwargs={"max_gen_toks": 7}) == {7}


def test_reasoning_is_not_cut_at_an_empty_line(data):
    from tests.scripted_lm import ScriptedLM

    model = ScriptedLM(lambda prompt: "First\n\nthen\n\n" + scripted("dmt_math").script(prompt))
    assert scores(evaluate(model, ["dmt_math"], data))["dmt_math"] == 1.0


def test_settings_come_from_metadata_before_the_environment(data, monkeypatch, tmp_path):
    file = tmp_path / "other.jsonl"
    file.write_text(json.dumps({"question": "From the environment?", "answer": "#### 1"}))
    monkeypatch.setenv("DMT_MATH_DATA", str(file))
    evaluate(model := scripted(), ["dmt_math"], None)
    assert prompts(model) == ["From the environment?\n"]
    evaluate(model := scripted(), ["dmt_math"], data)
    assert len(prompts(model)) == len(MATH)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dmt_math_data", "nowhere.jsonl"),
        ("dmt_prompt", "vicunna"),
        ("dmt_max_gen_toks", "many"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_value(data, name, value):
    with expect_error(name, value):
        evaluate(scripted(), ["dmt_math"], {**data, name: value})


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", ""),
        ("{", "JSON"),
        ("[1]", "row 1 "),
        ('{"question": "q"}', "`answer`"),
        ('{"question": "q", "answer": 3}', "`answer`"),
    ],
)
def test_a_wrong_data_file_is_named_with_its_row_and_field(tmp_path, content, named):
    file = tmp_path / "math.jsonl"
    file.write_text(content)
    with expect_error("dmt_math_data", file, named):
        evaluate(scripted(), ["dmt_math"], {"dmt_math_data": str(file)})


def test_an_unreachable_dataset_is_refused_with_the_setting_to_set():
    from axolotl_dmt.scoring.sources import Hub

    with expect_error("dmt_math_data", "no-such-owner/no-such-set", "DMT_MATH_DATA"):
        Hub(path="no-such-owner/no-such-set").rows("dmt_math_data")


def test_a_json_array_is_read_like_lines(tmp_path):
    file = tmp_path / "math.json"
    file.write_text(json.dumps(MATH))
    evaluate(model := scripted(), ["dmt_math"], {"dmt_math_data": str(file)})
    assert len(prompts(model)) == len(MATH)


# dmt_math_hard


def test_math_hard_compares_expressions(tmp_path):
    from tests.scripted_lm import ScriptedLM

    rows = [
        {
            "problem": "Half of one?",
            "level": "Level 1",
            "solution": r"It is $\boxed{\frac{1}{2}}$.",
        },
        {"problem": "Roots of x^2-1?", "level": "Level 2", "solution": r"\boxed{1,-1}"},
    ]
    file = tmp_path / "hard.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    answers = {"Half of one?\n": r"So \boxed{0.5}.", "Roots of x^2-1?\n": "The answer is $-1, 1$."}
    output = evaluate(
        ScriptedLM(answers.__getitem__), ["dmt_math_hard"], {"dmt_math_hard_data": str(file)}
    )
    row = output["results"]["dmt_math_hard"]
    assert (row["dmt_score,none"], row["strict_match,none"]) == (1.0, 0.5)


# MT-Bench


@pytest.fixture
def mt_bench(tmp_path, monkeypatch):
    """Write three questions and four judge prompts in FastChat's format; return `monkeypatch`."""
    folder = tmp_path / "mt_bench"
    folder.mkdir()
    questions = [
        {"question_id": 1, "category": "writing", "turns": ["Write one.", "Shorten it."]},
        {"question_id": 2, "category": "math", "turns": ["What is 2+2?", "And doubled?"]},
        {"question_id": 3, "category": "stem", "turns": ["Why blue?", "And red?"]},
    ]
    references = [{"question_id": 2, "choices": [{"turns": ["4", "8"]}]}]
    first = "{question} | {answer} | rate as [[rating]]"
    both = "{question_1} {question_2} | {answer_1} then {answer_2} | rate as [[rating]]"
    templates = {
        "single-v1": first,
        "single-math-v1": first + " against {ref_answer_1}",
        "single-v1-multi-turn": both,
        "single-math-v1-multi-turn": both + " against {ref_answer_2}",
    }
    judge = [
        {"name": name, "system_prompt": "Judge.", "prompt_template": text}
        for name, text in templates.items()
    ]
    for name, rows in (
        ("question", questions),
        ("reference_gpt-4", references),
        ("judge_prompts", judge),
    ):
        (folder / f"mt_bench_{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setenv("DMT_MTBENCH_DATA", str(folder))
    monkeypatch.setenv("DMT_JUDGE_MODEL", "judge")
    monkeypatch.setenv("DMT_JUDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DMT_JUDGE_API_KEY", "secret-key")
    pytest.importorskip("openai")
    return monkeypatch


def echo(prompt: str) -> str:
    return f"answer to <{prompt.strip().splitlines()[-1]}>"


def test_mt_bench_shows_the_first_answer_in_the_second_prompt(mt_bench):
    from tests.scripted_lm import ScriptedLM

    with judge_server(lambda *_: (200, "[[7]]")) as server:
        mt_bench.setenv("DMT_JUDGE_BASE_URL", server.url)
        mt_bench.setenv("DMT_PROMPT", "vicuna")
        model = ScriptedLM(lambda prompt: f" reply {prompt.count('USER:')}")
        output = evaluate(model, ["dmt_general_mtbench"], None)
    assert len(model.asked) == 6
    assert prompts(model)[0].endswith("USER: Write one. ASSISTANT:")
    assert prompts(model)[3].endswith(
        "USER: Write one. ASSISTANT: reply 1</s>USER: Shorten it. ASSISTANT:"
    )
    temperatures = [(asked["do_sample"], asked["temperature"]) for _, asked in model.asked]
    assert temperatures == [(True, 0.7), (False, 0.0), (True, 0.1)] * 2
    row = output["results"]["dmt_general_mtbench"]
    assert (row["rating,none"], row["judged,none"], row["failed,none"]) == (7.0, 6.0, 0.0)
    assert row["dmt_score,none"] == pytest.approx(6 / 9)
    assert row["dmt_score_stderr,none"] == 0.0
    assert (row["prompt_tokens,none"], row["completion_tokens,none"]) == (600.0, 60.0)
    asked = [request["messages"][1]["content"] for request in server.requests]
    assert sum("against 4" in text for text in asked) == 1
    assert sum("against 8" in text for text in asked) == 1
    assert "secret-key" not in json.dumps(output, default=str)


def test_mt_bench_uses_the_chat_template_and_generation_settings(mt_bench):
    from tests.scripted_lm import ScriptedLM

    with judge_server(lambda *_: (200, "[[7]]")) as server:
        mt_bench.setenv("DMT_JUDGE_BASE_URL", server.url)
        model = ScriptedLM(lambda _: "reply")
        evaluate(
            model,
            ["dmt_general_mtbench"],
            None,
            apply_chat_template=True,
            system_instruction="Be brief.",
            gen_kwargs={"do_sample": False, "max_gen_toks": 9},
            limit=1,
        )
    assert prompts(model) == [
        "system> Be brief.|\nuser> Write one.|\nassistant>",
        "system> Be brief.|\nuser> Write one.|\nassistant> reply|\nuser> Shorten it.|\nassistant>",
    ]
    assert all(s["max_gen_toks"] == 9 and not s["do_sample"] for _, s in model.asked)


def test_mt_bench_scores_judged_turns_only_and_counts_the_rest(mt_bench):
    from tests.scripted_lm import ScriptedLM

    def reply(_, request):
        text = request["messages"][1]["content"]
        return (200, "I cannot say.") if "Why blue?" in text else (200, "[[4]]")

    with judge_server(reply) as server:
        mt_bench.setenv("DMT_JUDGE_BASE_URL", server.url)
        output = evaluate(ScriptedLM(echo), ["dmt_general_mtbench"], None)
    row = output["results"]["dmt_general_mtbench"]
    assert (row["rating,none"], row["judged,none"], row["failed,none"]) == (4.0, 4.0, 2.0)


def test_a_broken_mt_bench_run_continues_where_it_stopped(mt_bench):
    from tests.scripted_lm import ScriptedLM

    mt_bench.setenv("DMT_MTBENCH_RUN", "these weights")
    with judge_server(lambda n, _: (200, "[[6]]") if n < 2 else (400, "broken")) as server:
        mt_bench.setenv("DMT_JUDGE_BASE_URL", server.url)
        evaluate(ScriptedLM(echo), ["dmt_general_mtbench"], None)
        server.reply = lambda *_: (200, "[[6]]")
        server.requests.clear()
        again = ScriptedLM(lambda _: "something else")
        output = evaluate(again, ["dmt_general_mtbench"], None)
    row = output["results"]["dmt_general_mtbench"]
    assert (row["judged,none"], row["rating,none"]) == (6.0, 6.0)
    assert len(server.requests) == 4  # two judgments were on disk
    assert len(again.asked) == 1  # all answers were on disk; some models fail without any request
    assert not any("something else" in json.dumps(request) for request in server.requests)


def test_answers_of_other_weights_are_never_reused(mt_bench, tiny):
    from lm_eval.models.huggingface import HFLM

    mt_bench.setenv("DMT_MAX_GEN_TOKS", "4")
    from axolotl_dmt.scoring.mtbench_task import _weights_name

    model = HFLM(pretrained=tiny, device="cpu", batch_size=2)
    before = _weights_name(model, {})
    assert before == _weights_name(HFLM(pretrained=tiny, device="cpu"), {})
    next(model.model.parameters()).data[5, 3] += 0.25
    assert _weights_name(model, {}) != before


# A real model


def test_the_suite_runs_on_a_tiny_model_with_automatic_batches(data, tiny):
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=tiny, device="cpu", batch_size="auto", max_batch_size=4)
    output = evaluate(model, ["dmt_suite"], {**data, "dmt_max_gen_toks": 8}, limit=2)
    assert set(scores(output)) == {*SUITE, "dmt_suite"}


def test_the_command_line_scores_the_whole_suite_offline(data, tiny, tmp_path):
    environment = {name.upper(): value for name, value in data.items() if name.startswith("dmt_")}
    command = [
        *(sys.executable, "-m", "lm_eval", "run", "--tasks", "dmt_suite"),
        *("--include_path", str(TASKS), "--model", "hf", "--model_args", f"pretrained={tiny}"),
        *("--device", "cpu", "--batch_size", "4", "--output_path", str(tmp_path)),
        *("--metadata", json.dumps({"dmt_max_gen_toks": 8, "allow_unsafe_code": True})),
        "--apply_chat_template",
    ]
    done = subprocess.run(
        command,
        env={**os.environ, **environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = tmp_path.rglob("results_*.json")
    results = json.loads(file.read_text())
    assert set(results["group_subtasks"]["dmt_suite"]) == set(SUITE)
    parts = [results["results"][task]["dmt_score,none"] for task in SUITE]
    assert results["groups"]["dmt_suite"]["dmt_score,none"] == pytest.approx(sum(parts) / 3)


# The documentation


def test_the_readme_documents_every_task_metric_setting_and_checker():
    from axolotl_dmt.scoring import instructions, judge, mtbench

    text = (TASKS / "README.md").read_text()
    source = "".join(file.read_text() for file in Path(instructions.__file__).parent.glob("*.py"))
    names = set(re.findall(r'"((?:dmt|allow)_[a-z_]+)"', source)) - {"dmt_general_mtbench"}
    for name in ("workers", "timeout", "retries", "attempts", "max_tokens"):
        assert name in judge.JudgeSettings.__dataclass_fields__
        names.add(f"dmt_judge_{name}")
    names |= set(instructions.DMT_CHECKERS)
    names |= {m.__name__ for m in mtbench.METRICS if not m.__name__.endswith("_stderr")}
    for file in TASKS.rglob("*.yaml"):
        names |= set(re.findall(r"^(?:task|group): (\w+)", file.read_text(), re.MULTILINE))
        names |= set(re.findall(r"- metric: (\w+)$", file.read_text(), re.MULTILINE))
    names = {name for name in names if not name.endswith("_stderr")}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
