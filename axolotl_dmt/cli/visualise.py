"""`axolotl dmt visualise`: plot a layer's hidden states of each domain's queries after each stage.

The plot follows the figure of Dong et al. (ACL 2024, arXiv 2310.05492) on the semantic
representations of math, code and general queries.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from axolotl_dmt.chart_style import FAINT, INK, MARKERS, PAGE, colours_of, label, panels, save
from axolotl_dmt.checks.collated_rows import need_tokens
from axolotl_dmt.cli.report import saved_config
from axolotl_dmt.config.yaml_file import YamlFile
from axolotl_dmt.errors import DMTError
from axolotl_dmt.results.folder import RunFolder, load_results

_BATCH = 16

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Projection:
    """One model's queries in two dimensions.

    Attributes:
        title: which model it is.
        points: shape (queries, 2).
        silhouette: mean silhouette of the domains in the hidden states themselves: near 1 they are
            separate, near 0 they overlap; None with fewer than two domains.
    """

    title: str
    points: Floats
    silhouette: float | None


def visualise(
    output_dir: Path,
    *,
    config_file: Path | None,
    layer: int | None,
    method: str,
    token: str,
    queries: int,
    to: Path,
) -> list[Projection]:
    """Draw the picture of a run, with a panel for the starting model and one for each stage.

    Args:
        output_dir: the run's folder.
        config_file: the run's YAML; None for the one saved in the folder.
        layer: 1 to the number of layers, or 0 for the embeddings; None for the middle layer.
        method: "tsne" or "pca", fitted to each model separately.
        token: "mean" for the mean over the query's tokens, or "last" for the last token.
        queries: number of queries of each domain, from its held-out rows if it has any.
        to: the PNG file.

    Returns:
        The projections, in the order of training.

    Raises:
        DMTError: the folder holds no run, a stage's folder is missing, an argument is out of range
            or the picture cannot be written.
    """
    if queries < 2:
        raise DMTError("--queries", f"{queries} is too few", "use at least 2, such as 100")
    stages, run = load_results(output_dir).stages, RunFolder(output_dir)
    folders = [(f"after {stage.name}", run.model_of(i, stage)) for i, stage in enumerate(stages)]
    for _, folder in folders:
        if not folder.is_dir():
            raise DMTError("OUTPUT_DIR", f"no folder {folder}", "the stage's model is needed")
    config_file = config_file or saved_config(output_dir)
    raw = YamlFile.read(config_file).data
    need_tokens(raw, "visualise")
    base = str(raw.get("base_model"))
    if not raw.get("reinit_weights"):  # otherwise the starting weights were random and not saved
        folders.insert(0, ("before training", Path(base)))
    if not folders:
        raise DMTError("OUTPUT_DIR", "no stage has ended", "train at least one stage")
    trust = bool(raw.get("trust_remote_code"))
    layer = _layer(layer, str(folders[-1][1]), base, trust)
    by_domain = _queries(config_file, queries)
    labels = np.repeat(np.arange(len(by_domain)), [len(rows) for rows in by_domain.values()])
    rows = [row for domain_rows in by_domain.values() for row in domain_rows]
    projections = []
    for title, folder in folders:
        states = hidden_states(str(folder), rows, layer=layer, token=token, trust_remote_code=trust)
        projections.append(
            Projection(
                title=title, points=project(states, method), silhouette=_silhouette(states, labels)
            )
        )
    method_name = {"tsne": "t-SNE", "pca": "PCA"}[method]
    caption = f"Hidden states at layer {layer}, {token} of the query's tokens, {method_name}"
    draw(projections, list(by_domain), labels, caption, to)
    return projections


def _layer(layer: int | None, folder: str, base: str, trust_remote_code: bool) -> int:
    """Return the layer to plot, checked against the model before any weights are loaded.

    Raises:
        DMTError: the model has no such layer.
    """
    from transformers import AutoConfig

    # An adapter's folder holds no configuration of the model.
    source = folder if (Path(folder) / "config.json").is_file() else base
    config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
    count = int(config.get_text_config().num_hidden_layers)
    if layer is None:
        return math.ceil(count / 2)
    if not 0 <= layer <= count:
        raise DMTError("--layer", f"{layer} is not from 0 to {count}", f"the model has {count}")
    return layer


def _queries(config_file: Path, count: int) -> dict[str, list[list[int]]]:
    """Return {domain: token ids of the query of each chosen row}."""
    from axolotl_dmt.console import quiet_axolotl
    from axolotl_dmt.training.load_run import compile_from_yaml

    with quiet_axolotl():
        pool = compile_from_yaml(str(config_file)).pool
    queries = {}
    for domain in pool.domains:
        rows = pool.held_out.get(domain.name) or pool.rows_of(domain.name)
        # The same queries for every model and every call.
        chosen = np.random.default_rng(0).permutation(len(rows))[:count]
        queries[domain.name] = [_query(row) for row in rows.select(np.sort(chosen))]
    return queries


def _query(row: Mapping[str, Any]) -> list[int]:
    """Return the tokens before the first trained token; the whole row where there are none."""
    trained = (i for i, label in enumerate(row["labels"]) if label >= 0)
    return list(row["input_ids"][: next(trained, 0) or None])


def hidden_states(
    folder: str,
    rows: Sequence[Sequence[int]],
    *,
    layer: int,
    token: str,
    trust_remote_code: bool = False,
) -> Floats:
    """Return the hidden state of each row at a layer.

    Args:
        folder: a model or an adapter that transformers loads.
        rows: token ids of each row.
        layer: 0 for the embeddings, 1 for the output of the first layer.
        token: "mean" for the mean over the row's tokens, or "last" for its last token.
        trust_remote_code: whether to run the model's own code.

    Returns:
        Shape (rows, hidden size).
    """
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", trust_remote_code=trust_remote_code
    )
    model.to(device).eval()
    state_of_row: list[Any] = [None] * len(rows)
    # Rows of similar length share a batch, which saves padding.
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            longest = max(len(rows[i]) for i in batch)
            ids = torch.tensor([[*rows[i], *[0] * (longest - len(rows[i]))] for i in batch])
            lengths = torch.tensor([len(rows[i]) for i in batch])
            mask = (torch.arange(longest)[None] < lengths[:, None]).long()
            output = model.base_model(
                input_ids=ids.to(device), attention_mask=mask.to(device), output_hidden_states=True
            )
            states = output.hidden_states[layer].float().cpu()
            for i, state, length in zip(batch, states, lengths.tolist(), strict=True):
                tokens = state[:length]
                state_of_row[i] = (tokens.mean(dim=0) if token == "mean" else tokens[-1]).numpy()
    del model
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    return np.stack(state_of_row)


def project(states: Floats, method: str) -> Floats:
    """Project the states to two dimensions, deterministically.

    Args:
        states: shape (rows, hidden size).
        method: "tsne" or "pca".

    Returns:
        Shape (rows, 2).
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method == "pca":
        fitted = PCA(n_components=2, random_state=0).fit_transform(states)
    else:
        perplexity = min(30.0, (len(states) - 1) / 3)
        fitted = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(states)
    points: Floats = fitted.astype(np.float32)
    return points


def _silhouette(states: Floats, labels: NDArray[np.int64]) -> float | None:
    """Return the mean silhouette of the domains; None with fewer than two."""
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(states, labels)) if len(set(labels.tolist())) > 1 else None


def draw(
    projections: Sequence[Projection],
    domains: Sequence[str],
    labels: NDArray[np.int64],
    caption: str,
    to: Path,
) -> None:
    """Draw a panel for each model.

    Args:
        projections: in the order of training.
        domains: their names.
        labels: index of each query's domain, shape (queries,).
        caption: written above the panels.
        to: the PNG to write.

    Raises:
        DMTError: the file cannot be written.
    """
    figure, axes = panels(len(projections), (3.2, 3.4), 4)
    colours = colours_of(domains)
    for axis, projection in zip(axes, projections, strict=True):
        for i, domain in enumerate(domains):
            x, y = projection.points[labels == i].T
            style = {"s": 14, "alpha": 0.75, "linewidths": 0, "label": label(domain)}
            marker = MARKERS[i % len(MARKERS)]
            axis.scatter(x, y, color=colours[domain], marker=marker, **style)
        title = label(projection.title)
        if projection.silhouette is not None:
            title += f"\nsilhouette {projection.silhouette:.2f}"
        axis.set_title(title, loc="left", fontsize=9.5, color=INK)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_color(FAINT)
        axis.set_facecolor(PAGE)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower left", ncols=6, frameon=False, fontsize=9)
    figure.suptitle(caption, x=0.01, ha="left", fontsize=10.5, color=INK)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        save(figure, to, format="png")
    except OSError as error:
        raise DMTError("--to", f"{to} cannot be written ({error})", "name another file") from None
