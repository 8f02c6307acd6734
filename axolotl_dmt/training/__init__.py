"""One Axolotl run under a plan.

`run.Run` is the checked YAML, `prepare.prepare` loads the rows and compiles the plan, and
`prepare.follow_plan` makes the trainer follow it: `samplers` deal the rows in order,
`learning_rate` composes the stages' curves, and `callback.StageCallback` acts where a stage starts
or ends.
"""
