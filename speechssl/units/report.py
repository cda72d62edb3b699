"""The report card of a codebook: its measures over recordings, as JSON, text and plots."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechssl import audio
from speechssl.checkpoints import atomic_path, foreign, write_text
from speechssl.errors import InputError
from speechssl.signals import Encoder, Waveform
from speechssl.units import measures
from speechssl.units.codebooks import syllables
from speechssl.units.codebooks.codebook import Codebook

if TYPE_CHECKING:
    from speechssl.units.encoding.manifest import Entry

NOISE = (20.0, 10.0)  # dB signal-to-noise ratio of the stability test
RESAMPLED = 1.12  # two semitones: another size of speaker
_ARPABET = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
PHONES = ("SIL", *_ARPABET.split())


@dataclass(frozen=True, eq=False)
class Utterance:
    """Features of a recording and what is known of it.

    Args:
        frames: (N, D) float32.
        phones: (N,) 0 for silence, ``measures.UNKNOWN`` where unknown; empty if it is not aligned.
        speaker: empty if unknown.
        text: empty if unknown; equal texts of different speakers are compared.
        changed: the same recording changed in some way, frames (N', D) by the name of the change.
    """

    frames: NDArray[np.float32]
    phones: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    speaker: str = ""
    text: str = ""
    changed: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def measure(codebook: Codebook, utterances: Sequence[Utterance], *, triples: int = 2000) -> dict[str, Any]:
    """The report card, JSON-able.

    Args:
        codebook: of one level; of more, its first level is measured.
        utterances: with whatever is known; what cannot be measured is None.
        triples: of ABX.
    Returns:
        What ``measures`` gives, and ``quantisation_error``, the share of the frames' variance that is lost.
    Raises:
        InputError: no utterances.
    """
    if not utterances:
        raise InputError("no utterances to measure; give at least one recording")
    units = [codebook.codes_of(utterance.frames)[:, 0] for utterance in utterances]
    aligned = [(u, ids) for u, ids in zip(utterances, units, strict=True) if len(u.phones)]
    phones = np.concatenate([u.phones for u, _ in aligned]) if aligned else np.zeros(0, np.int64)
    known = bool((phones != measures.UNKNOWN).any())
    quantised = [(codebook.centroids[0][ids], u.phones, u.speaker) for u, ids in aligned]
    return {
        "codebook": codebook.origin,
        **measures.rates(units, codebook.num_units, codebook.frame_rate),
        "phones": measures.phone_information(np.concatenate([i for _, i in aligned]), phones) if known else None,
        "abx": measures.abx(quantised, triples=triples) if known else None,
        "abx_features": measures.abx([(u.frames, u.phones, u.speaker) for u, _ in aligned], triples=triples)
        if known
        else None,
        "edits_under": _stability(codebook, utterances, units),
        "edits_between_speakers": _between_speakers(utterances, units),
        "quantisation_error": _error(codebook, utterances),
    }


def centred(utterance: Utterance, mean: NDArray[np.floating]) -> Utterance:
    """The utterance less the mean of all frames, so that cosines tell its frames apart."""
    return dataclasses.replace(utterance, frames=(utterance.frames - mean).astype(np.float32))


def syllable_rates(utterances: Sequence[Utterance], frame_rate: float, threshold: float, k: int) -> dict[str, Any]:
    """Rates and phone information of syllable-like segments, beside which frame units can be held.

    Args:
        utterances: as for ``measure``.
        frame_rate: Hz.
        threshold: see ``syllables.segment``.
        k: clusters of segment means.
    """
    parts = [syllables.segment(u.frames, threshold=threshold) for u in utterances]
    book = syllables.cluster([syllables.means(u.frames, ends) for u, ends in zip(utterances, parts, strict=True)], k)
    units = [syllables.frame_units(u.frames, ends, book) for u, ends in zip(utterances, parts, strict=True)]
    seconds = sum(len(u.frames) for u in utterances) / frame_rate
    aligned = [(u.phones, ids) for u, ids in zip(utterances, units, strict=True) if len(u.phones)]
    segments = np.concatenate([ids[np.r_[0, ends[:-1]]] for ids, ends in zip(units, parts, strict=True)])
    bits = measures.entropy(np.bincount(segments, minlength=len(book)))
    return {
        "threshold": threshold,
        "k": len(book),
        "segments_per_second": len(segments) / seconds,
        "entropy": bits,
        "bitrate": bits * len(segments) / seconds,
        "phones": measures.phone_information(*map(np.concatenate, zip(*[(i, p) for p, i in aligned], strict=True)))
        if any((p != measures.UNKNOWN).any() for p, _ in aligned)
        else None,
    }


def utterances(
    encoder: Encoder,
    entries: Iterable[Entry],
    alignments: Mapping[str, NDArray[np.int64]],
    *,
    stability: int = 20,
    advance: Callable[[str], None] = lambda _: None,
) -> list[Utterance]:
    """Encode recordings for a report.

    Args:
        encoder: makes the features.
        entries: recordings; ``speaker`` and ``text`` are taken from what their manifest carried.
        alignments: of ``read_alignments``.
        stability: so many of them are also encoded with noise and at another pitch.
        advance: called with the id of each.
    Raises:
        InputError: a recording that cannot be read.
    """
    found = []
    for number, entry in enumerate(entries):
        waveform = audio.read_mono(entry.file, encoder.sample_rate)
        frames = encoder.encode(waveform).frames.float().numpy()
        found.append(
            Utterance(
                frames=frames,
                phones=phones_of_frames(alignments.get(entry.path), len(frames)),
                speaker=str(entry.extra.get("speaker", "")),
                text=str(entry.extra.get("text", "")),
                changed={
                    name: encoder.encode(one).frames.float().numpy()
                    for name, one in (changes(waveform, number).items() if number < stability else ())
                },
            )
        )
        advance(entry.id)
    return found


def changes(waveform: Waveform, seed: int) -> dict[str, Waveform]:
    """White noise at the levels of ``NOISE``, and pitch and size of the speaker two semitones up and down."""
    rng, samples, rate = np.random.default_rng(seed), waveform.samples, waveform.sample_rate
    noise = torch.from_numpy(rng.standard_normal(len(samples)).astype(np.float32))
    level = float(samples.square().mean().sqrt())
    changed = {
        f"noise {decibels:.0f} dB": Waveform(samples + noise * level * 10 ** (-decibels / 20), rate)
        for decibels in NOISE
    }
    for name, factor in (("higher voice", 1 / RESAMPLED), ("lower voice", RESAMPLED)):
        faster = audio.resample(waveform, round(rate * factor))
        changed[name] = Waveform(faster.samples, rate)
    return changed


def read_alignments(path: str | Path) -> dict[str, NDArray[np.int64]]:
    """Phones every 10 ms by recording, from JSON lines ``{"path", "segments": [[phone, start, frames ...], ...]}``.

    A phone's length is the sum of the numbers after its start (the states of an aligner), in frames of 10 ms.

    Raises:
        InputError: missing, or a line of another form (with its number).
    """
    names = {name: number for number, name in enumerate(PHONES)}
    found: dict[str, NDArray[np.int64]] = {}
    try:
        for number, row in foreign.read_lines(path):
            try:
                found[row["path"]] = _track(row["segments"], names)
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise InputError(f"{path}:{number}: no alignment ({error!r})") from error
    except OSError as error:
        raise InputError(f"cannot read the alignments {path}: {error.strerror}; check the path") from error
    return found


def phones_of_frames(track: NDArray[np.int64] | None, num_frames: int) -> NDArray[np.int64]:
    """Phone in the middle of each 20 ms frame, from a track every 10 ms; empty if there is none."""
    if track is None:
        return np.zeros(0, np.int64)
    # frame i is centred on 20 i + 12.5 ms
    middle = 2 * np.arange(num_frames) + 1
    inside = middle < len(track)
    return np.where(inside, track[middle.clip(max=len(track) - 1)], measures.UNKNOWN)


def text(cards: Sequence[Mapping[str, Any]]) -> str:
    """Report cards as a Markdown table, one column each."""
    rows: list[tuple[str, Callable[[Mapping[str, Any]], Any]]] = [
        ("seconds of speech", lambda c: f"{c['seconds']:.0f}"),
        ("units per second, raw", lambda c: f"{c['units_per_second']:.1f}"),
        ("units per second, collapsed", lambda c: f"{c['collapsed_per_second']:.2f}"),
        ("entropy, bits per collapsed unit", lambda c: f"{c['entropy']:.2f}"),
        ("perplexity", lambda c: f"{c['perplexity']:.0f}"),
        ("bitrate, bit/s (collapsed, by entropy)", lambda c: f"{c['bitrate']:.0f}"),
        ("bitrate, bit/s (collapsed, log2 K)", lambda c: f"{c['nominal_bitrate']:.0f}"),
        ("dead units", lambda c: c["dead"]),
        ("usage (perplexity of frames / K)", lambda c: f"{c['usage']:.3f}"),
        ("share of variance lost", lambda c: f"{c['quantisation_error']:.3f}"),
        ("phone purity", lambda c: _of(c["phones"], "phone_purity")),
        ("cluster purity", lambda c: _of(c["phones"], "cluster_purity")),
        ("PNMI", lambda c: _of(c["phones"], "pnmi")),
        ("ABX error across speakers, centroids", lambda c: _number(c["abx"])),
        ("ABX error across speakers, features", lambda c: _number(c["abx_features"])),
        ("edits per unit, same words by two speakers", lambda c: _number(c["edits_between_speakers"])),
    ]
    changed = sorted({name for card in cards for name in card["edits_under"]})
    rows += [(f"edits per unit, {name}", lambda c, name=name: _of(c["edits_under"], name)) for name in changed]  # type: ignore[misc]
    head = "| |" + "|".join(f" {card['codebook']} " for card in cards) + "|"
    lines = [head, "|---|" + "---:|" * len(cards)]
    lines += [f"| {name} |" + "|".join(f" {value(card)} " for card in cards) + "|" for name, value in rows]
    return "\n".join(lines) + "\n"


def write(folder: str | Path, card: Mapping[str, Any]) -> list[Path]:
    """``report.json``, ``report.md`` and, where matplotlib is installed, ``usage.png``.

    Raises:
        CheckpointError: the place cannot be written to.
    """
    folder = Path(folder)
    contents = {"report.json": json.dumps(card, indent=2, allow_nan=False) + "\n", "report.md": text([card])}
    for name, content in contents.items():
        write_text(folder / name, content)
    written = [folder / name for name in contents]
    try:
        import matplotlib
    except ImportError:
        return written
    matplotlib.use("Agg")
    with atomic_path(folder / "usage.png") as temporary:
        _plot(temporary, card)
    return [*written, folder / "usage.png"]


def _plot(path: Path, card: Mapping[str, Any]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    counts = np.sort(np.array(card["counts"]))[::-1]
    axes.bar(np.arange(len(counts)), 100 * counts / counts.sum(), width=1.0)
    axes.set(xlabel="unit, most frequent first", ylabel="% of frames", title=card["codebook"])
    figure.savefig(path, format="png", dpi=100)


def _stability(
    codebook: Codebook, utterances: Sequence[Utterance], units: Sequence[NDArray[np.int64]]
) -> dict[str, float]:
    pairs: dict[str, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}
    for utterance, ids in zip(utterances, units, strict=True):
        for name, frames in utterance.changed.items():
            pairs.setdefault(name, []).append((ids, codebook.codes_of(frames)[:, 0]))
    return {name: measures.unit_edit_distance(*zip(*found, strict=True)) for name, found in sorted(pairs.items())}


def _between_speakers(utterances: Sequence[Utterance], units: Sequence[NDArray[np.int64]]) -> float | None:
    """Edits per unit between neighbouring speakers of every text that several speak."""
    by_text: dict[str, dict[str, NDArray[np.int64]]] = {}
    for utterance, ids in zip(utterances, units, strict=True):
        words = " ".join("".join(c if c.isalpha() else " " for c in utterance.text.lower()).split())
        # one word is no sentence: what differs then is where the recording was cut
        if utterance.speaker and words.count(" ") >= 2:
            by_text.setdefault(words, {}).setdefault(utterance.speaker, ids)
    pairs = [
        (said[a], said[b])
        for _, said in sorted(by_text.items())
        for a, b in zip(sorted(said), sorted(said)[1:], strict=False)
    ]
    return measures.unit_edit_distance(*zip(*pairs, strict=True)) if pairs else None


def _error(codebook: Codebook, utterances: Sequence[Utterance]) -> float:
    mean = np.mean([u.frames.mean(0, dtype=np.float64) for u in utterances], axis=0)
    lost = total = 0.0
    for utterance in utterances:
        back = codebook.reconstruct(codebook.codes_of(utterance.frames))
        lost += float(np.square(utterance.frames.astype(np.float64) - back).sum())
        total += float(np.square(utterance.frames - mean).sum())
    return lost / total if total else 0.0


def _track(segments: list[list[Any]], names: Mapping[str, int]) -> NDArray[np.int64]:
    length = max((start + sum(parts) for _, start, *parts in segments), default=0)
    track = np.full(max(1, length), measures.UNKNOWN)
    for phone, start, *parts in segments:
        track[start : start + sum(parts)] = names.get(phone, measures.UNKNOWN)
    return track


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _of(values: Mapping[str, float] | None, key: str) -> str:
    return _number(None if values is None else values.get(key))
