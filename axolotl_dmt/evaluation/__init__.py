"""Scores models with lm-evaluation-harness: the live model (`live`) or a saved stage (`saved`)."""
