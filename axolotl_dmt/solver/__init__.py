"""Finds the cheapest mix of a stage that keeps abilities above their floors.

Three steps, all pure mathematics on numbers that short trainings (*probes*) measured:

1. `design`: which probes to train, so that a law fitted to them predicts the full stage best.
2. `law`: how the loss of each domain depends on the amounts, with prediction intervals, and
   `score_curve`: which loss a score corresponds to.
3. `search`: the cheapest amounts at which every bound stays within its floor.

docs/solving.md has the mathematics. Nothing here loads a model or data, or reads a file.
"""
