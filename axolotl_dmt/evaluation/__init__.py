"""Scores models with lm-evaluation-harness, under the settings of the `dmt.evaluate` block.

`tasks.Tasks` looks up the tasks of the block once, before any model is loaded. There are two ways
to score on them, and both return a `scores.Evaluation`:

    evaluation = live.score_live_model(trainer, tasks, ranks)  # during training, on all ranks
    evaluation = saved.score_saved_stage(folder, config)  # a model or adapter in a folder
    evaluation.scores["math"].value

`live` restores everything that scoring changes, so it does not affect the training; it spreads the
requests over all ranks with `shared_model.SharedModel`. `saved.score_in_subprocess` does the same
as `score_saved_stage` in a separate process, for models that the training shards or vLLM serves.

By default the tasks are asked in the formats of the training rows.
`trained_prompts.trained_format` reads a dataset's format from rows that Axolotl tokenises;
`tasks.Tasks.ask_as_trained` asks in it, and `asking` does so for lm-eval's own tasks.

A failed evaluation is not raised: its `error` says what went wrong, and the training continues.
"""
