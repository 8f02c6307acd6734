"""The scores of lm-eval's own GSM8K task, to compare ours with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

GSM8KScorer = Callable[[str, str], tuple[float, float]]


def gsm8k_scorer() -> GSM8KScorer:
    """Return a function that scores an answer with lm-eval's filters and metric.

    It takes the answer and the correct number, and returns the scores of `strict-match` and
    `flexible-extract`.
    """
    import lm_eval
    import yaml
    from lm_eval.api.instance import Instance
    from lm_eval.api.metrics import exact_match_fn
    from lm_eval.filters import build_filter_ensemble

    file = Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k.yaml"
    task = yaml.safe_load(file.read_text())
    (metric,) = task["metric_list"]
    settings = {k: metric[k] for k in ("ignore_case", "ignore_punctuation", "regexes_to_ignore")}
    filters = {
        entry["name"]: build_filter_ensemble(
            entry["name"],
            [
                (step["function"], {k: v for k, v in step.items() if k != "function"})
                for step in entry["filter"]
            ],
        )
        for entry in task["filter_list"]
    }

    def score(answer: str, gold: str) -> tuple[float, float]:
        instance = Instance("generate_until", {}, ("", {}), 0, ("gsm8k", 0, 1))
        instance.resps = [answer]
        values = []
        for name in ("strict-match", "flexible-extract"):
            filters[name].apply([instance])
            prediction = instance.filtered_resps[name]
            result = exact_match_fn(
                predictions=[prediction], references=[f"#### {gold}"], **settings
            )
            values.append(float(result["exact_match"]))
        return values[0], values[1]

    return score
