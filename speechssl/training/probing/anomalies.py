"""Anomalous sounds without an example of one: the distance to the nearest normal recordings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechssl import errors
from speechssl.errors import InputError
from speechssl.training.probing import encodings, exchange
from speechssl.training.probing.encodings import Layers
from speechssl.training.probing.labels import Labelled

if TYPE_CHECKING:
    from speechssl.encoders.encoder import SSLEncoder

NEIGHBOURS = 1  # nearest normal recordings whose distance counts
MAX_FALSE_ALARMS = 0.1  # of the partial area, as in the DCASE challenges
DRAWS = 200  # of the intervals


def distances(normal: NDArray[np.float32], test: NDArray[np.float32], *, neighbours: int = NEIGHBOURS) -> NDArray[Any]:
    """Mean distance (M,) of vectors (M, D) to the nearest of the normal ones (N, D); higher is more anomalous.

    All are standardised by mean and deviation of the normal ones first. The distance is Euclidean, because a sound that
    is far from all normal ones may lie in the direction of one, which a cosine would take for normal.

    Raises:
        InputError: fewer normal recordings than neighbours.
    """
    if len(normal) < max(2, neighbours):
        raise InputError(f"{len(normal)} normal recordings; at least {max(2, neighbours)} needed")
    mean, spread = normal.mean(0), normal.std(0) + 1e-6
    known, asked = ((one - mean) / spread for one in (normal, test))
    squares = (asked**2).sum(1)[:, None] + (known**2).sum(1) - 2 * asked @ known.T
    return np.sqrt(np.sort(squares, axis=1)[:, :neighbours].clip(min=0)).mean(1)


def areas(scores: NDArray[Any], anomalous: NDArray[np.bool_], *, seed: int = 0) -> dict[str, Any]:
    """AUC with its 95 % interval by bootstrap, and standardised pAUC up to a false-alarm rate of 0.1.

    Raises:
        InputError: no normal or no anomalous recording.
    Source: McClish 1989 for the partial area; both as in DCASE task 2, Koizumi et al. 2020, arXiv:2006.05822.
    """
    errors.require("sklearn", purpose="probing", extra="probing")
    from sklearn.metrics import roc_auc_score

    if anomalous.all() or not anomalous.any():
        raise InputError(f"{int(anomalous.sum())} of {len(anomalous)} test recordings are anomalous; both kinds needed")
    rng = np.random.default_rng(seed)
    kinds = [np.flatnonzero(anomalous), np.flatnonzero(~anomalous)]
    drawn = []
    for _ in range(DRAWS):
        chosen = np.concatenate([rng.choice(kind, len(kind)) for kind in kinds])
        drawn.append(roc_auc_score(anomalous[chosen], scores[chosen]))
    return {
        "auc": float(roc_auc_score(anomalous, scores)),
        "interval_95": [float(one) for one in np.quantile(drawn, (0.025, 0.975))],
        "pauc": float(roc_auc_score(anomalous, scores, max_fpr=MAX_FALSE_ALARMS)),
    }


def find(
    normal: Sequence[Layers],
    test: Sequence[Layers],
    anomalous: NDArray[np.bool_],
    origins: Sequence[str],
    *,
    neighbours: int = NEIGHBOURS,
    kinds: Sequence[str] | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A row for each layer: ``origin``, what ``areas`` gives, and the ``scores`` of the test recordings.

    Args:
        normal, test: pooled vectors of each layer of each recording.
        anomalous: (M,) which of the test recordings are.
        origins: of the layers.
        neighbours: nearest normal recordings whose distance counts.
        kinds: of the normal recordings: the distance is then one of vectors that ``exchange.learnt`` learns from them.
        seed: of the intervals, and of what is learnt.
    Raises:
        InputError: as ``distances`` and ``areas``.
    """
    rows = []
    for place, origin in enumerate(origins):
        known, asked = (np.stack([one[place] for one in part]) for part in (normal, test))
        if kinds is not None:
            known, asked = exchange.learnt(known, asked, kinds, seed=seed)
        scores = distances(known, asked, neighbours=neighbours)
        rows.append({"origin": origin, **areas(scores, anomalous, seed=seed), "scores": scores.tolist()})
    return rows


def probe(
    normal: Sequence[str],
    test: Sequence[Labelled],
    called: str,
    encoders: Sequence[tuple[SSLEncoder, Sequence[int]]],
    *,
    neighbours: int = NEIGHBOURS,
    kinds: Mapping[str, str] | None = None,
    seconds: float | None = None,
    seed: int = 0,
    advance: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure how well each layer of encoders tells anomalous recordings from normal ones.

    Args:
        normal: files.
        test: from ``labels.read``.
        called: label of the normal ones of the test.
        encoders: each with the numbers of its layers.
        neighbours, seed: as ``find``.
        kinds: of the normal recordings, by file; see ``find``.
        seconds, advance: as ``encodings.encode_all``.
    Returns:
        A report that JSON can hold, with the rows of ``find``.
    Raises:
        InputError: as ``encodings.encode_all`` and ``find``.
    """
    files = [*normal, *(one.file for one in test)]
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for encoder, layers in encoders:
        kept, reasons = encodings.encode_all(files, encoder, layers, seconds=seconds, advance=advance)
        left_out |= reasons
        known, heard = [file for file in normal if file in kept], [one for one in test if one.file in kept]
        rows += find(
            [kept[file] for file in known],
            [kept[one.file] for one in heard],
            np.array([one.label != called for one in heard]),
            [encoder.origins[layer] for layer in layers],
            neighbours=neighbours,
            kinds=None if kinds is None else [kinds[file] for file in known],
            seed=seed,
        )
    tested = [{"path": one.path, "label": one.label} for one in test if one.file not in left_out]
    exchanged = kinds is not None
    return {"normal": len(normal), "exchange": exchanged, "test": tested, "layers": rows, "left_out": left_out}
