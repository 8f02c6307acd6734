"""How the lm-eval tasks of `eval_tasks/` find their rows and judge their answers.

The YAML tasks name functions here through a `utils.py` beside them, because lm-eval executes a
`!function` file again for every reference. Nothing here imports torch, transformers or Axolotl, and
importing a module does no work: data, checkers and clients load when a task first needs them.

    sources        rows, prompt template and settings: metadata, then environment, then the hub
    math           the number an answer ends on, and whether it is the right one
    math_hard      the answer of a MATH problem
    latex          whether two mathematical expressions are equal
    instructions   verifiable instructions: IFEval's checkers and a few of our own
    judge          an OpenAI-compatible judge with retries and a cache on disk
    mtbench        MT-Bench: its questions, judge prompts and scores
    mtbench_task   MT-Bench as an lm-eval task of two turns
    code           programs cut from answers and run in a sandbox
"""
