"""Probe labels of whole recordings: the accuracy of every layer of encoders on recordings they have not heard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechssl.errors import InputError
from speechssl.training.probing import encodings, heads
from speechssl.training.probing.encodings import Layers
from speechssl.training.probing.labels import Labelled, Numbers, divide, fewer
from speechssl.training.rank import rank_me

if TYPE_CHECKING:
    from speechssl.encoders.encoder import SSLEncoder

HEADS = ("linear", "weighted", "attentive")


def classify(
    recordings: Sequence[Labelled],
    encoders: Sequence[tuple[SSLEncoder, Sequence[int]]],
    *,
    use: Sequence[str] = HEADS[:2],
    contrast: str = "none",
    labels: int | None = None,
    seconds: float | None = None,
    cache: Path | None = None,
    seed: int = 0,
    advance: Callable[[str], None] = lambda _: None,
    stage: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train heads on frozen features and measure them on recordings they have not heard.

    Args:
        recordings: from ``labels.read``.
        encoders: each with the numbers of its layers; the first is the one asked about.
        use: heads, of ``HEADS``.
        contrast: supervised contrast of the attentive head, of ``heads.CONTRASTS``.
        labels: recordings to train on; None for all of that side.
        seconds: of each recording, from its beginning; None for all.
        cache, advance: as ``encodings.encode_all``.
        stage: called with what is done next, in words.
        seed: of the split, of the choice of labels and of the heads.
    Returns:
        A report that JSON can hold; rates are fractions. ``confusion`` of the chosen layer: rows are true classes.
    Raises:
        InputError: an unknown head, a contrast without the attentive one, labels that cannot be probed (see
            ``labels.divide``), or nothing to be encoded.
    """
    _check_heads(use, contrast)
    divide(recordings, seed=seed)  # what is wrong with the labels is said before the work
    files = [one.file for one in recordings]
    left_out: dict[str, str] = {}
    held = []
    for encoder, layers in encoders:
        found, reasons = encodings.encode_all(files, encoder, layers, seconds=seconds, cache=cache, advance=advance)
        held.append(found)
        left_out |= reasons
    usable = [one for one in recordings if one.file not in left_out]
    if not usable:
        raise InputError(f"none of {len(recordings)} recordings can be used: {next(iter(left_out.values()))}")
    train, test = divide(usable, seed=seed)
    train = train if labels is None else fewer(usable, train, labels, seed=seed)
    models = []
    for (encoder, layers), found in zip(encoders, held, strict=True):
        stage(f"training heads on {encoder.origin}")
        probe = _Probe(usable, train, test, seed, contrast)
        model = probe.measure([found[one.file] for one in usable], encoder, layers, use)
        if "attentive" in use:
            model["attentive"] = probe.attentive(encoder, model["chosen_layer"], seconds, cache)
        models.append(model)
    more = {"seed": seed, "seconds": seconds, "left_out": left_out, "models": models}
    return {**_about_split(usable, train, test), **more}


def _about_split(usable: Sequence[Labelled], train: Numbers, test: Numbers) -> dict[str, Any]:
    """What a report says of the recordings."""
    groups = {one.group for one in usable} - {""}
    return {
        "classes": dict(sorted(Counter(one.label for one in usable).items())),
        "split": "given" if any(one.part for one in usable) else "drawn",
        "train": len(train),
        "test": len(test),
        "speakers": len(groups),
        "speakers_on_both_sides": len({usable[i].group for i in train} & {usable[i].group for i in test} & groups),
        "chance": max(Counter(usable[number].label for number in test).values()) / len(test),
    }


def _check_heads(use: Sequence[str], contrast: str) -> None:
    if unknown := sorted(set(use) - set(HEADS)):
        raise InputError(f"no head {unknown[0]!r}; one of {', '.join(HEADS)} needed")
    if contrast not in heads.CONTRASTS:
        raise InputError(f"no contrast {contrast!r}; one of {', '.join(heads.CONTRASTS)} needed")
    if contrast != "none" and "attentive" not in use:
        raise InputError(f"contrast {contrast!r} is of the attentive head; it is not among {', '.join(use)}")


class _Probe:
    """The labels of one split."""

    def __init__(self, recordings: Sequence[Labelled], train: Numbers, test: Numbers, seed: int, contrast: str) -> None:
        self.recordings, self.train, self.test, self.seed, self.contrast = recordings, train, test, seed, contrast
        self.labels = np.array([one.label for one in recordings])
        self.groups = [recordings[number].group for number in train]

    def measure(
        self, encoded: Sequence[Layers], encoder: SSLEncoder, layers: Sequence[int], use: Sequence[str]
    ) -> dict[str, Any]:
        """Rows of the layers, the layer that the recordings to train choose, and the layer-weighted head."""
        rows, answers = [], []
        for place, layer in enumerate(layers):
            features = np.stack([one[place] for one in encoded])
            model, strength, inner = heads.linear(
                features[self.train], self.labels[self.train], self.groups, seed=self.seed
            )
            answers.append(model.predict(features[self.test]))
            means = torch.from_numpy(features[self.train, : features.shape[1] // 2])
            rows.append(
                {
                    "layer": layer,
                    "origin": encoder.origins[layer],
                    **self._rates(answers[-1]),
                    "inner_accuracy": inner,
                    "strength": strength,
                    "rank_me": float(rank_me(means)),
                }
            )
        best = max(range(len(rows)), key=lambda place: rows[place]["inner_accuracy"])
        found: dict[str, Any] = {
            "model": encoder.origins[0].rpartition("/")[0] or encoder.origin,
            "layers": rows,
            "chosen_layer": layers[best],
            "accuracy": rows[best]["accuracy"],
            "layer_by_rank_me": max(rows, key=lambda row: row["rank_me"])["layer"],
            "confusion": self._confusion(answers[best]),
        }
        if "weighted" in use and len(layers) > 1:
            found["weighted"] = self._weighted(encoded, layers, rows[best]["strength"])
        return found

    def _weighted(self, encoded: Sequence[Layers], layers: Sequence[int], strength: float) -> dict[str, Any]:
        widths = Counter(len(part) for part in encoded[0])
        # a projection behind the last block has another width
        places = [place for place, part in enumerate(encoded[0]) if len(part) == widths.most_common(1)[0][0]]
        features = [np.stack([one[place] for one in encoded]) for place in places]
        answers, weights = heads.weighted(
            [part[self.train] for part in features],
            self.labels[self.train],
            [part[self.test] for part in features],
            strength,
        )
        names = [str(layers[place]) for place in places]
        return {**self._rates(answers), "weights": dict(zip(names, weights, strict=True))}

    def attentive(self, encoder: SSLEncoder, layer: int, seconds: float | None, cache: Path | None) -> dict[str, Any]:
        """The attentive head on the frames of one layer."""
        files = [one.file for one in self.recordings]
        frames, _ = encodings.encode_all(
            files, encoder, [layer], keep=encodings.frames_of, seconds=seconds, cache=cache
        )
        train, test = ([frames[files[number]][0] for number in part] for part in (self.train, self.test))
        answers = heads.attentive(train, self.labels[self.train], test, contrast=self.contrast, seed=self.seed)
        return {"layer": layer, "contrast": self.contrast, **self._rates(answers)}

    def _rates(self, answers: NDArray[np.str_]) -> dict[str, Any]:
        from scipy.stats import binomtest

        right = int((answers == self.labels[self.test]).sum())
        interval = binomtest(right, len(answers)).proportion_ci(method="wilson")
        return {"accuracy": right / len(answers), "interval_95": [float(interval.low), float(interval.high)]}

    def _confusion(self, answers: NDArray[np.str_]) -> list[list[int]]:
        classes = sorted(set(self.labels))
        pairs = Counter(zip(self.labels[self.test].tolist(), answers.tolist(), strict=True))
        return [[pairs[true, found] for found in classes] for true in classes]
