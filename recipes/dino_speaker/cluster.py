"""Pseudo-speakers for the second stage: clusters of a run's embeddings of all training utterances.

    python recipes/dino_speaker/cluster.py cache runs/dino --output runs/dino/labels.npy --clusters 400
    python recipes/dino_speaker/train.py cache --run runs/margin --start runs/dino --labels runs/dino/labels.npy

The embeddings are those of the run's averaged network, or of a file of ``export.py``. May be repeated with the new run.
The labels are an int64 array, one number a row of the cache, -1 for rows that are no training speech; clusters of fewer
than ``--smallest`` utterances are left out. Speaker names are read only to say how well the clusters fit them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evaluate import network_embedding, utterances, vectors_of
from networks import trained

from speechssl import errors


def training_rows(cache: Path) -> list[dict[str, Any]]:
    """Rows of the index with speech of the training split, each with its number."""
    index = json.loads((cache / "index.json").read_text())
    rows = [{**row, "row": number} for number, row in enumerate(index)]
    return [
        row for row in rows if row["split"] == "train" and not row["corpus"].startswith("noise") and row["frames"] >= 90
    ]


def embeddings(cache: Path, rows: list[dict[str, Any]], network: torch.nn.Module) -> np.ndarray:
    """Unit embeddings (N, E), of a hundred rows at a time."""
    found = []
    for start in range(0, len(rows), 100):
        found.append(vectors_of(network_embedding(network), *utterances(cache, rows[start : start + 100])))
    joined = np.concatenate(found)
    return joined / np.linalg.norm(joined, axis=1, keepdims=True)


def clustered(vectors: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Cluster (N,) of unit vectors: k-means with four times as many centres, which are then joined by average link.

    Joining what k-means has split apart finds clusters of unlike size, which speakers are.
    """
    from sklearn.cluster import AgglomerativeClustering, MiniBatchKMeans

    clusters = min(clusters, len(vectors))
    fine = MiniBatchKMeans(min(4 * clusters, len(vectors)), random_state=seed, n_init=3, batch_size=4096).fit(vectors)
    centres = fine.cluster_centers_ / np.maximum(np.linalg.norm(fine.cluster_centers_, axis=1, keepdims=True), 1e-12)
    joined = AgglomerativeClustering(clusters, metric="cosine", linkage="average").fit_predict(centres)
    return joined[fine.labels_]


def without_small(labels: np.ndarray, smallest: int) -> np.ndarray:
    """Labels numbered anew, -1 where a cluster is too small."""
    found, count = np.unique(labels, return_counts=True)
    order = {int(label): number for number, label in enumerate(found[count >= smallest])}
    return np.array([order.get(int(label), -1) for label in labels])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("source", type=Path, help="run whose averaged network embeds, or embedder file")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--clusters", type=int, default=400, help="about as many as there are speakers")
    parser.add_argument("--smallest", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    errors.require_for_recipe("sklearn")
    torch.set_num_threads(1)
    rows = training_rows(args.cache)
    vectors = embeddings(args.cache, rows, trained(args.source))
    labels = without_small(clustered(vectors, args.clusters, args.seed), args.smallest)
    if labels.max() < 1:
        raise SystemExit(f"{args.cache}: fewer than two clusters of {args.smallest} utterances; lower --smallest")
    of_rows = np.full(len(json.loads((args.cache / "index.json").read_text())), -1, np.int64)
    of_rows[[row["row"] for row in rows]] = labels
    args.output.parent.mkdir(parents=True, exist_ok=True)
    np.save(args.output, of_rows)
    print(json.dumps(described(rows, labels)))


def described(rows: list[dict[str, Any]], labels: np.ndarray) -> dict[str, Any]:
    """How many, and how well they fit the speakers' names: purity, and normalised mutual information."""
    from sklearn.metrics import normalized_mutual_info_score

    kept = labels >= 0
    names = np.unique([f"{row['corpus']}/{row['speaker']}" for row in rows], return_inverse=True)[1][kept]
    table = np.zeros((labels.max() + 1, names.max() + 1))
    np.add.at(table, (labels[kept], names), 1)
    return {
        "clusters": int(labels.max() + 1),
        "utterances": int(kept.sum()),
        "left_out": int((~kept).sum()),
        "purity": round(float(table.max(1).sum() / table.sum()), 4),
        "mutual_information": round(float(normalized_mutual_info_score(names, labels[kept])), 4),
    }


if __name__ == "__main__":
    errors.run_recipe(main)
