"""What units are worth: rate, entropy, what they say of phones, and how steady they are. Arrays in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechssl.errors import InputError
from speechssl.units.runs import collapse

Ids = NDArray[np.int64]
UNKNOWN = -1  # phone of a frame nobody aligned


def entropy(counts: NDArray[Any]) -> float:
    """Bits per symbol of a count vector; 0 for none."""
    share = counts[counts > 0] / max(1, counts.sum())
    return float(-(share * np.log2(share)).sum())


def rates(sequences: Sequence[Ids], num_units: int, frame_rate: float) -> dict[str, Any]:
    """Rates, entropy and usage of units.

    Args:
        sequences: unit of every frame of each utterance.
        num_units: K.
        frame_rate: Hz.
    Returns:
        ``units_per_second`` before and ``collapsed_per_second`` after merging runs; ``entropy`` of one collapsed unit
        in bits (unigram), ``perplexity`` 2^entropy, ``bitrate`` = collapsed rate * entropy, ``nominal_bitrate`` =
        collapsed rate * log2 K; ``dead`` units that never occur, ``usage``, the perplexity of frames over K;
        ``counts`` (K,).
    Raises:
        InputError: no frames.
    """
    total = sum(map(len, sequences))
    if not total:
        raise InputError("no units to measure; give at least one utterance")
    collapsed = np.concatenate([collapse(sequence)[0] for sequence in sequences])
    counts = np.bincount(np.concatenate(sequences), minlength=num_units)
    bits, per_second = entropy(np.bincount(collapsed, minlength=num_units)), len(collapsed) / total * frame_rate
    return {
        "seconds": round(total / frame_rate, 2),
        "units_per_second": frame_rate,
        "collapsed_per_second": per_second,
        "entropy": bits,
        "perplexity": 2**bits,
        "bitrate": per_second * bits,
        "nominal_bitrate": per_second * math.log2(num_units),
        "dead": int((counts == 0).sum()),
        "usage": 2 ** entropy(counts) / num_units,
        "counts": counts.tolist(),
    }


def phone_information(units: Ids, phones: Ids) -> dict[str, float]:
    """What the unit of a frame says of its phone, over frames whose phone is known.

    Returns:
        ``phone_purity``: share of frames whose phone is the most frequent one of their unit; ``cluster_purity``: share
        whose unit is the most frequent one of their phone; ``pnmi``: I(phone; unit) / H(phone).
    Raises:
        InputError: no frame has a phone.
    Source: Hsu et al. 2021 (HuBERT), arXiv:2106.07447, section IV-C.
    """
    known = phones != UNKNOWN
    if not known.any():
        raise InputError("no frame has a phone; give alignments of these recordings")
    joint = np.zeros((int(units.max()) + 1, int(phones.max()) + 1))
    np.add.at(joint, (units[known], phones[known]), 1)
    total = joint.sum()
    both, unit, phone = (entropy(part) for part in (joint.ravel(), joint.sum(1), joint.sum(0)))
    return {
        "phone_purity": float(joint.max(1).sum() / total),
        "cluster_purity": float(joint.max(0).sum() / total),
        "pnmi": (unit + phone - both) / phone if phone > 0 else 0.0,
    }


def edit_distance(first: Ids, second: Ids) -> int:
    """Least number of insertions, deletions and substitutions (Levenshtein)."""
    steps = np.arange(len(second) + 1)
    row = steps.copy()
    for one in first:
        # from above and from the diagonal at once; from the left by a running minimum
        best = np.minimum(row[1:] + 1, row[:-1] + (second != one))
        best = np.r_[row[0] + 1, best]
        row = np.minimum.accumulate(best - steps) + steps
    return int(row[-1])


def unit_edit_distance(clean: Sequence[Ids], changed: Sequence[Ids]) -> float:
    """Edits between collapsed units of pairs of utterances, per unit of the first: 0 if nothing changes.

    Raises:
        InputError: no pairs.
    Source: Gat et al. 2022, arXiv:2209.15483, section 3.
    """
    pairs = [(collapse(a)[0], collapse(b)[0]) for a, b in zip(clean, changed, strict=True)]
    if not pairs:
        raise InputError("no pairs of utterances to compare")
    return sum(edit_distance(a, b) for a, b in pairs) / sum(len(a) for a, _ in pairs)


def abx(
    utterances: Sequence[tuple[NDArray[np.floating], Ids, str]], *, triples: int = 2000, seed: int = 0
) -> float | None:
    """ABX error across speakers, within context: is X, of another speaker, nearer to A (its phone) than to B?

    Tokens are phones of two frames or more with the same neighbours on both sides; distances are means of angles along
    the best alignment. Contexts, then phones, then speakers are drawn evenly.

    Args:
        utterances: frames (N, D), phones (N,), speaker.
        triples: drawn.
        seed: of the draws.
    Returns:
        A fraction, chance 0.5; None where no triple can be drawn.
    Source: Schatz et al. 2013.
    """
    tokens = _tokens(utterances)
    contexts = [context for context in sorted(tokens) if len(tokens[context]) >= 2]
    rng = np.random.default_rng(seed)
    errors: list[float] = []
    for _ in range(triples * 20 if contexts else 0):
        if len(errors) == triples:
            break
        by_phone = tokens[contexts[rng.integers(len(contexts))]]
        a, b = rng.choice(sorted(by_phone), 2, replace=False)
        speakers = sorted(by_phone[a].keys() & by_phone[b].keys())
        if not speakers:
            continue
        speaker = speakers[rng.integers(len(speakers))]
        others = sorted(by_phone[a].keys() - {speaker})
        if not others:
            continue
        x = _drawn(by_phone[a][others[rng.integers(len(others))]], rng)
        near, far = (aligned_distance(x, _drawn(by_phone[phone][speaker], rng)) for phone in (a, b))
        errors.append(0.5 if near == far else float(near > far))
    return float(np.mean(errors)) if errors else None


def aligned_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Mean angle, over pi, along the alignment of two sequences (n, D), (m, D) that makes its sum least."""
    norms = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)
    cost = np.arccos(np.clip(first @ second.T / np.maximum(norms, 1e-9), -1, 1)) / np.pi
    # (sum, steps); of equal sums the shorter path
    best = [[(math.inf, 0)] * (cost.shape[1] + 1) for _ in range(cost.shape[0] + 1)]
    best[0][0] = (0.0, 0)
    for i, row in enumerate(cost.tolist()):
        for j, here in enumerate(row):
            total, steps = min(best[i][j], best[i][j + 1], best[i + 1][j])
            best[i + 1][j + 1] = (total + here, steps + 1)
    total, steps = best[-1][-1]
    return total / steps


_Tokens = dict[tuple[int, int], dict[int, dict[str, list[NDArray[np.floating]]]]]


def _tokens(utterances: Sequence[tuple[NDArray[np.floating], Ids, str]]) -> _Tokens:
    """Frames of every phone by context, phone and speaker."""
    found: _Tokens = {}
    for frames, phones, speaker in utterances:
        if len(phones) == 0:
            continue
        labels, durations = collapse(phones)
        ends = np.cumsum(durations)
        for i in range(1, len(labels) - 1):
            if labels[i] > 0 and durations[i] >= 2 and min(labels[i - 1], labels[i + 1]) != UNKNOWN:
                context = (int(labels[i - 1]), int(labels[i + 1]))
                by_speaker = found.setdefault(context, {}).setdefault(int(labels[i]), {})
                by_speaker.setdefault(speaker, []).append(frames[ends[i] - durations[i] : ends[i]])
    return found


def _drawn(items: list[NDArray[np.floating]], rng: np.random.Generator) -> NDArray[np.floating]:
    return items[rng.integers(len(items))]
