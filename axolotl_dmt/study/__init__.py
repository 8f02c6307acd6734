"""Studies: grids of runs over one base YAML; cells that share a run train it once.

`config.Study` is the study's YAML, `cells.expand` its cells, `runner.StudyRunner` trains them.
"""
