"""One Axolotl run under a plan.

The plugin calls these modules in the order in which Axolotl calls the plugin:

1. `run.Run.from_raw` checks the raw YAML and resolves its stages, before Axolotl validates it.
2. `prepare.prepare` loads the rows into one `pool.RowPool` and compiles the plan. It refuses to
   resume from a checkpoint of another plan (`resume`).
3. `trainer.stage_trainer` extends Axolotl's trainer class, so that it can follow a plan.
4. `prepare.follow_plan` gives the plan to the trainer. From then on the `samplers` yield the rows
   of the plan in order, `callback.StageCallback` saves, scores and resets at stage boundaries, and
   `recorder.Recorder` writes the results.
5. `learning_rate.composed_scheduler` joins the learning-rate curves of the stages.

Commands that only inspect a run use `load_run`: it performs step 1 through Axolotl's own loading of
the YAML, then loads the rows and compiles the plan, and trains nothing.
"""
