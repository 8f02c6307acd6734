r"""Score answers to mathematics, code and chat tasks: the Python behind the tasks of `eval_tasks/`.

lm-eval calls this package through the tasks, but every scorer also works on its own:

    from axolotl_dmt.scoring import math

    row = {"question": "What is 9 * 2?", "answer": "9 * 2 = 18\n#### 18"}
    math.process_results(row, ["The answer is $18."])
    # {"dmt_score": 1.0, "strict_match": 0.0}

Each task module has the functions that its YAML file names: `dataset` returns the rows with their
prompts, `doc_to_text` the prompt of a row, and `process_results` the metrics of its answer. The
`utils.py` beside a YAML file only re-exports them, because lm-eval executes that file again for
every reference.

    math, math_hard         dmt_math (GSM8K) and dmt_math_hard (MATH)
    math_answers, numbers   read the number that a text gives as its answer
    expression_answers      read the expression that a text gives as its answer
    expressions, notation   compare two expressions, with math-verify in a process of its own
                            (expression_worker, expression_comparison)
    boxes, answer_text      find boxes; find the part of a text that answers the question
    thinking                removes the reasoning before an answer
    code                    dmt_code (HumanEval) and dmt_code_mbpp (MBPP)
    code_rows               check the rows of the code tasks
    code_answers            read the program out of an answer
    answer_blocks           split an answer into blocks of code
    python_source           answer questions about Python source
    instructions            dmt_general (IFEval and instructions of this package)
    mtbench_task, mtbench   dmt_general_mtbench (MT-Bench): the task, and its data and metrics
    judge                   an OpenAI-compatible judge with retries and a disk cache
    prompts                 prompt formats: the named ones, and those of a training
    thinking                removes the reasoning before an answer
    sources                 settings and rows of all tasks
    worked_examples         few-shot examples
    pooled_mean             a mean of grouped values and its standard error

A setting such as `dmt_math_data` is read from lm-eval's metadata, then from the environment (see
`env_name`). `prompt_template` returns the prompt format that the setting `dmt_prompt` selects.

Nothing in this package imports torch, transformers or Axolotl, and importing a module does no work:
data, checkers and clients are loaded when a task first needs them. Only `mtbench_task` imports
lm-eval, because its task is a class of lm-eval's.
"""

from axolotl_dmt.scoring.prompts import TEMPLATES, Template, TrainedPrompts
from axolotl_dmt.scoring.sources import env_name, prompt_template

__all__ = ["TEMPLATES", "Template", "TrainedPrompts", "env_name", "prompt_template"]
