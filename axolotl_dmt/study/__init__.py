"""Studies: grids of runs over one base YAML, in which stages that cells share are trained once.

The modules in the order in which `axolotl dmt study` uses them:

1. `config.read_study` reads the study's YAML and its base.
2. `cells.expand` returns the cells, one for each combination of settings and seed; `stages` writes
   out the schedule of each. `cells.runs_of` returns the runs that the cells need, each once.
3. `folder.open_study` finds out which runs the study's folder already holds.
4. `runner.StudyRunner` trains the remaining runs; `merge_run` is the one that merges the models of
   two stages instead of training. `workers` says where: in processes of this machine, or on a Ray
   cluster, where `guarded` ends a training whose worker is gone. `estimate` shows the work of a
   study without training it.
5. `cell_results.read_cell_results` reads the results for the report (package `analysis`).

`solve` is `axolotl dmt solve`: its probes are a study too. `solvable` finds the amounts that a YAML
leaves to choose, `solving` trains the probes and fits their laws, `solution_text` shows the answer,
`solved_yaml` writes it, and `solve_train` trains it.
"""
