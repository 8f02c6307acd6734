"""Results: what a run scored after each stage, in `OUTPUT_DIR/dmt/results.json`.

    from pathlib import Path
    from axolotl_dmt.results import Results

    results = Results.load(Path("outputs/run/dmt/results.json"))
    for point in results.points():   # the baseline, where there is one, and every stage
        print(point.name, point.scores)

`metrics` derives retention, forgetting and backward transfer from the whole stage-by-ability
matrix. `folder` names every file of a run's output folder, and `config_file` keeps the run's YAML
there without its secrets.
"""

from axolotl_dmt.results.results import (
    EVALUATE,
    HARDWARE,
    HOOKS,
    SCHEMA,
    SOURCES,
    Results,
    Sample,
    Score,
    StageResult,
)

__all__ = [
    "EVALUATE",
    "HARDWARE",
    "HOOKS",
    "SCHEMA",
    "SOURCES",
    "Results",
    "Sample",
    "Score",
    "StageResult",
]
