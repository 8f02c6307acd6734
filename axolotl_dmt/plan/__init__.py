"""Plans: which rows a run trains on, in which order and at which step. No torch, no Axolotl.

A pure function compiles a plan from stages and domains:

    from axolotl_dmt.plan import Domain, Stage, compile_plan
    from axolotl_dmt.plan.amounts import ALL

    plan = compile_plan(
        stages=[Stage(name="learn", mix={"math": ALL}, learning_rate=2e-5)],
        domains=[Domain(name="math", rows=800)],
        seed=42,
        global_batch=16,
    )
    plan.order        # row ids in training order, -1 for a blank
    plan.fingerprint  # changes if, and only if, what is trained changes

Compilation takes three steps. `solve` turns the amounts of a stage (`amounts`) into an exact number
of rows of each domain. `ranking` chooses those rows, so that a smaller amount always lies inside a
larger one. `orders` puts the rows of each epoch in order, with keyed permutations (`permutation`).
`training_plan` holds the result, saves it and fingerprints it; `draws` and `show` present it.
"""

from axolotl_dmt.plan.compiler import compile_plan
from axolotl_dmt.plan.draws import write_rows
from axolotl_dmt.plan.inputs import Domain, Packing, Stage
from axolotl_dmt.plan.training_plan import BLANK, DomainDraw, StagePlan, TrainingPlan

__all__ = [
    "BLANK",
    "Domain",
    "DomainDraw",
    "Packing",
    "Stage",
    "StagePlan",
    "TrainingPlan",
    "compile_plan",
    "write_rows",
]
