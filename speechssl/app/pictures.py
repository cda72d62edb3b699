"""Pictures and messages as HTML: SVG follows the colours of the page, shrinks on a phone, and has a description."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from speechssl import audio
from speechssl.audio import mel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speechssl.conversion.result import Attribution, Conversion
    from speechssl.signals import Waveform
    from speechssl.verification.decisions import Decision
    from speechssl.voices.reference_report import ReferenceReport

COLOURS = ("#4f7cff", "#f08c3a", "#2fa36b", "#c65bcf", "#d6455d", "#1aa7b8", "#9a7b2f", "#7a6cf0")
# dark violet to pale yellow, monotone in lightness so that it reads without colour
STOPS = np.array(
    [(13, 8, 42), (59, 15, 112), (120, 28, 109), (182, 54, 84), (229, 92, 48), (251, 155, 38), (250, 222, 120)], float
)
RATE = 16_000  # Hz of spectrograms: 0 to 8 kHz
BANDS = 72
LONGEST = 60.0  # seconds drawn; more would be thinner than a pixel
MARKED_SECOND = 450.0  # width of a second whose stretches have names: 9 for 20 ms


def spectrogram(
    waveform: Waveform, title: str, *, marks: Sequence[tuple[float, float, str]] = (), width: float = 640.0
) -> str:
    """A mel spectrogram with a time axis.

    Args:
        waveform: its first ``LONGEST`` seconds are drawn.
        title: shown above the picture, and part of its description.
        marks: stretches (start, end, name) drawn over the picture, wide enough to read the first word of each name; the
            picture then scrolls.
        width: of the drawing. A narrow drawing has larger letters when it is shown small.
    """
    seconds = min(waveform.seconds, LONGEST)
    height, left, top = 150.0, 40.0, 4.0
    wide = bool(marks) and left + seconds * MARKED_SECOND > width
    width = left + seconds * MARKED_SECOND if wide else width
    image = _png(_mel(waveform, columns=6000 if wide else 1200))
    parts = [
        f'<image href="data:image/png;base64,{image}" x="{left}" y="{top}" width="{width - left}" height="{height}" '
        'preserveAspectRatio="none" style="image-rendering:auto"/>'
    ]
    scale = (width - left) / seconds
    for number, (start, end, name) in enumerate(marks):
        if start >= seconds:
            break
        x, w = left + start * scale, (min(end, seconds) - start) * scale
        parts.append(
            f'<rect x="{x:.1f}" y="{top}" width="{w:.2f}" height="{height}" fill="#fff" '
            f'fill-opacity="{0.1 if number % 2 else 0}" stroke="#fff" stroke-opacity=".3" stroke-width=".5">'
            f"<title>{escape(name)}</title></rect>"
        )
        # upright, a name fits into the shortest stretch, 20 ms
        middle = x + w / 2 - 3
        parts.append(
            f'<text transform="translate({middle:.1f} {top + 4}) rotate(90)" font-size="9" fill="#fff" '
            f'stroke="#000" stroke-opacity=".55" stroke-width="2" paint-order="stroke">{escape(name.split()[0])}</text>'
        )
    parts += [_label(left - 5, top + height, "0"), _label(left - 5, top + 10, "8 kHz")]
    parts += _seconds(seconds, left, width, top + height)
    return _figure(parts, width, top + height + 20, title, f"mel spectrogram, {seconds:.1f} seconds", scrolled=wide)


def timeline(made: Conversion) -> str:
    """Draw which second of which reference the output was made of: runs of the neighbour with the largest weight."""
    seconds = len(made.features) / made.features.frame_rate
    runs = [run for one in made.attributions for run in _runs(one, made.features.frame_rate)]
    names = list(dict.fromkeys(name for _, _, name, _ in runs))
    last = max((place + end - start for start, end, _, place in runs), default=1.0)
    width, height, left, top = 640.0, 150.0, 44.0, 6.0
    across, up = (width - left) / seconds, height / last
    parts = [
        f'<line x1="{left}" y1="{top}" x2="{left}" y2="{top + height}" stroke="currentColor" stroke-opacity=".4"/>'
    ]
    for start, end, name, place in runs:
        x1, x2 = left + start * across, left + end * across
        y1, y2 = top + height - place * up, top + height - (place + end - start) * up
        text = f"{start:.2f}–{end:.2f} s: {name}, {place:.2f}–{place + end - start:.2f} s"
        parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{max(x2, x1 + 1.5):.1f}" y2="{y2:.1f}" '
            f'stroke="{COLOURS[names.index(name) % len(COLOURS)]}" stroke-width="3.2" stroke-linecap="round">'
            f"<title>{escape(text)}</title></line>"
        )
    parts += [_label(left - 5, top + height, "0 s"), _label(left - 5, top + 10, f"{last:.0f} s")]
    parts += _seconds(seconds, left, width, top + height)
    legend = "".join(
        f'<span><i style="background:{COLOURS[i % len(COLOURS)]}"></i>{escape(name)}</span>'
        for i, name in enumerate(names[: len(COLOURS)])
    )
    picture = _figure(
        parts, width, top + height + 20, "Where each part came from",
        f"{len(runs)} runs from {len(names)} recordings; across: seconds of the result, up: seconds of the recording",
    )  # fmt: skip
    return f'{picture}<div class="legend">{legend}</div>'


def verdict(decision: Decision | str, heads: tuple[str, str]) -> str:
    """The result of verification, as a sentence and a scale.

    Args:
        decision: or a sentence that says why nothing was decided.
        heads: the headings of a decision that accepts and of one that rejects.
    """
    if isinstance(decision, str):
        return _card("muted", "Not verified", escape(_sentence(decision)))
    number = "" if decision.probability is None else _percent(decision.probability)
    kind, head = {
        True: ("good", escape(heads[0])),
        False: ("bad", escape(heads[1])),
        None: ("muted", "No decision"),
    }[decision.accepted]
    limit = "" if decision.threshold is None else f", accepted from {decision.threshold:.2f}"
    tail = f"Score {decision.score:.3f}{limit}" + (f"; probability {number} at even odds." if number else ".")
    remarks = "".join(f"<li>{escape(_sentence(remark))}</li>" for remark in decision.remarks)
    origin = f'<div class="fine">Threshold: {escape(decision.threshold_source)}.</div>'
    return _card(kind, head, escape(tail) + (f"<ul>{remarks}</ul>" if remarks else "") + _scale(decision) + origin)


def report(found: ReferenceReport) -> str:
    """The report on references: a verdict, and a table of the recordings."""
    kind = "good" if not found.remarks else "warn"
    rows = "".join(
        f"<tr><td>{escape(one.name[:40])}</td><td>{one.speech_seconds:.1f} s</td><td>{_number(one.snr_db, ' dB')}</td>"
        f"<td>{100 * one.clipping:.2f} %</td><td>{_number(one.loudness, ' LUFS')}</td></tr>"
        for one in found.recordings
    )
    table = (
        "<table><thead><tr><th>recording</th><th>speech</th><th>SNR</th><th>clipped</th><th>loudness</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )
    head = "Good references" if not found.remarks else "These references could be better"
    return _card(kind, head, escape(_sentence(found.verdict)) + table)


def done(converter: str, reason: str) -> str:
    """The converter that was used, and the reason."""
    why = "as asked" if reason == "as asked" else f"chosen for {reason}"
    return f'<p class="small" role="status">Done. Converter <em>{escape(converter)}</em>, {escape(why)}.</p>'


def batch(rows: Sequence[dict[str, Any]]) -> str:
    """The result of each recording of a zip."""
    failed = sum(bool(row["error"]) for row in rows)
    body = "".join(_batch_row(row) for row in rows)
    table = (
        "<table><thead><tr><th>recording</th><th>seconds</th><th>passes</th><th>in the zip as</th></tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )
    kind = "good" if not failed else "warn" if failed < len(rows) else "bad"
    return _card(kind, f"{len(rows) - failed} of {len(rows)} converted.", table)


def _batch_row(row: dict[str, Any]) -> str:
    name = f'<td class="breaks">{escape(row["recording"])}</td>'
    if row["error"]:
        return f'<tr>{name}<td colspan="3" class="problem breaks">{escape(_sentence(row["error"]))}</td></tr>'
    passes = "–" if row["accepted"] == "" else "no decision"
    if row["accepted"] in (True, False):
        passes = f"{'yes' if row['accepted'] else 'no'}, {_percent(row['probability'])}"
    return (
        f'<tr>{name}<td>{row["seconds"]:.1f}</td><td>{passes}</td><td class="breaks">{escape(row["output"])}</td></tr>'
    )


def voice(facts: dict[str, Any]) -> str:
    """The recordings of a stored voice, and its consent."""
    body = "".join(
        f'<tr><td class="breaks">{escape(one["name"])}</td><td>{one["seconds"]:.1f} s</td>'
        f"<td>{_number(one['f0'] or math.nan, ' Hz')}</td>"
        f'<td title="SHA-256 {one["sha256"]}"><code>{one["sha256"][:8]}</code></td></tr>'
        for one in facts["recordings"]
    )
    table = (
        "<table><thead><tr><th>recording</th><th>length</th><th>pitch</th><th>checksum</th></tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )
    consents = "".join(
        f"<li>{escape(one['who'])}, {escape(one['when'][:10])}: {escape(one['purpose'])}</li>"
        for one in facts["consents"]
    )
    head = f"{facts['seconds']:.1f} s, {facts['frames']} frames of {facts['model']}, {facts['megabytes']:.2f} MB"
    told = f"Consent<ul>{consents}</ul>" if consents else "Stored without an attestation."
    made = f"<div>{escape(head)}; stored {escape(facts['created'][:10])}.</div>"
    return _card("good" if consents else "warn", escape(facts["name"]), made + table + told)


def problem(text: str) -> str:
    """An error beside its field; empty text shows nothing."""
    return f'<p class="problem" role="alert">{escape(_sentence(text))}</p>' if text else ""


def ranked(found: dict[str, Any]) -> str:
    """Enrolled speakers by score: what ``handlers.speakers.identify`` gives."""
    words = {True: "yes", False: "no", None: "no decision"}
    body = "".join(
        f"<tr><td>{escape(str(row['speaker']))}</td><td>{row['score']:.3f}</td><td>{words[row['accepted']]}</td></tr>"
        for row in found["ranked"][:10]
    )
    table = (
        f"<table><thead><tr><th>speaker</th><th>score</th><th>accepted</th></tr></thead><tbody>{body}</tbody></table>"
    )
    kind, head = {
        "known": ("good", f"This is {escape(str(found['speaker']))}"),
        "unknown": ("warn", "Nobody who is enrolled"),
        "none": ("muted", "No decision"),
    }[found["decision"]]
    remarks = "".join(f"<li>{escape(_sentence(remark))}</li>" for remark in found["remarks"])
    return _card(kind, head, (f"<ul>{remarks}</ul>" if remarks else "") + table)


def histogram(same: Sequence[float], other: Sequence[float], decision: Decision, source: str) -> str:
    """Histograms of known same-speaker and different-speaker scores, and a line at this score."""
    edges = np.linspace(-0.4, 1.0, 43)
    counts = [np.histogram(values, edges)[0] / max(1, len(values)) for values in (same, other)]
    top_share = max(float(count.max()) for count in counts) or 1.0
    width, height, left, top = 640.0, 120.0, 10.0, 14.0
    step = (width - 2 * left) / (len(edges) - 1)
    parts = []
    for count, colour in zip(counts, (COLOURS[2], COLOURS[4]), strict=True):
        for number, share in enumerate(count):
            bar = height * float(share) / top_share
            parts.append(
                f'<rect x="{left + number * step:.1f}" y="{top + height - bar:.1f}" width="{step - 1:.1f}" '
                f'height="{bar:.1f}" fill="{colour}" fill-opacity=".55"/>'
            )

    def at(value: float) -> float:
        first, last = float(edges[0]), float(edges[-1])
        return left + (min(max(value, first), last) - first) / (last - first) * (width - 2 * left)

    if decision.threshold is not None:
        parts.append(_upright(at(decision.threshold), top, height, "4 3"))
    parts.append(_upright(at(decision.score), top, height, ""))
    parts.append(
        f'<text x="{at(decision.score):.1f}" y="{top - 3}" font-size="11" text-anchor="middle" fill="currentColor">'
        f"{decision.score:.2f}</text>"
    )
    for value in (-0.4, 0.0, 0.5, 1.0):
        parts.append(
            f'<text x="{at(value):.1f}" y="{top + height + 14}" font-size="11" text-anchor="middle" '
            f'fill="currentColor" opacity=".7">{value:g}</text>'
        )
    legend = (
        f'<div class="legend"><span><i style="background:{COLOURS[2]}"></i>one speaker ({len(same)})</span>'
        f'<span><i style="background:{COLOURS[4]}"></i>two speakers ({len(other)})</span>'
        f"<span>{escape(source)}</span></div>"
    )
    text = f"scores of one and of two speakers; this one is {decision.score:.2f}"
    return _figure(parts, width, top + height + 20, "Among other scores", text) + legend


def _upright(x: float, top: float, height: float, dashes: str) -> str:
    return (
        f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + height}" stroke="currentColor" stroke-width="2" '
        f'stroke-dasharray="{dashes}"/>'
    )


def _scale(decision: Decision) -> str:
    if decision.threshold is None:
        return ""
    value, limit = (100 * min(max((x + 0.2) / 1.2, 0.0), 1.0) for x in (decision.score, decision.threshold))
    marks = f'<b style="left:{limit:.1f}%"></b><i style="left:{value:.1f}%"></i>'
    return f'<div class="scale" aria-hidden="true">{marks}</div>'


def _card(kind: str, head: str, body: str) -> str:
    return f'<div class="card {kind}" role="status"><strong>{head}</strong><div>{body}</div></div>'


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    if "." not in text.partition(" ")[0].rstrip("."):
        # a file name keeps its case
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."


def _percent(share: float) -> str:
    """A probability in percent; never 0 or 100, because nothing is certain."""
    return "less than 1 %" if share < 0.01 else "more than 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _number(value: float, unit: str) -> str:
    return f"{value:.0f}{unit}" if math.isfinite(value) else "–"


def _figure(parts: Sequence[str], width: float, height: float, title: str, text: str, *, scrolled: bool = False) -> str:
    drawn = (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(f"{title}: {text}")}"'
        + (f' style="width:{width:.0f}px">' if scrolled else ">")
        + "".join(parts)
        + "</svg>"
    )
    if scrolled:
        # with the focus, the arrow keys scroll
        title = f"{title}; scroll sideways for all"
        drawn = f'<div class="scrolled" tabindex="0" role="region" aria-label="{escape(title)}">{drawn}</div>'
    return f'<figure class="picture"><figcaption>{escape(title)}</figcaption>{drawn}</figure>'


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}" font-size="11" text-anchor="end" fill="currentColor" opacity=".7">{text}</text>'


def _seconds(seconds: float, left: float, width: float, y: float) -> list[str]:
    step = next(step for step in (0.2, 0.5, 1, 2, 5, 10, 20, 1e9) if seconds / step <= (width - left) / 55)
    return [
        f'<text x="{left + tick * step / seconds * (width - left):.1f}" y="{y + 14}" font-size="11" '
        f'text-anchor="{"start" if tick == 0 else "middle"}" fill="currentColor" opacity=".7">{tick * step:g} s</text>'
        for tick in range(int(seconds / step - 0.3) + 1)
    ]


def _runs(one: Attribution, rate: float) -> list[tuple[float, float, str, float]]:
    """Find stretches that continue in one recording: (start, end, reference, second in the reference)."""
    best = one.weights.argmax(1)
    rows = range(len(best))
    files, places = one.files[rows, best].tolist(), one.seconds[rows, best].tolist()
    runs: list[tuple[float, float, str, float]] = []
    begun = 0
    for frame in range(1, len(files) + 1):
        if (
            frame < len(files)
            and files[frame] == files[frame - 1]
            and abs(places[frame] - places[frame - 1] - 1 / rate) < 0.5 / rate
        ):
            continue
        name = one.references[files[begun]]
        runs.append((begun / rate, frame / rate, name, places[begun]))
        begun = frame
    return runs


def _mel(waveform: Waveform, *, columns: int) -> NDArray[np.float64]:
    """Decibels (BANDS, frames), 0 at the loudest; not many more frames than ``columns``."""
    samples = audio.resample(waveform, RATE).samples.detach().cpu().numpy()[: int(LONGEST * RATE)].astype(np.float64)
    size = 512
    hop = max(160, len(samples) // columns)
    padded = np.pad(samples, (0, size))
    starts = np.arange(0, max(1, len(samples)), hop)
    frames = padded[starts[:, None] + np.arange(size)] * np.hanning(size)
    bank = mel.filters(BANDS, size, sample_rate=RATE, high=RATE / 2) + 1e-6
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 @ bank
    levels = 10 * np.log10(power.T + 1e-9)
    return np.asarray(levels - levels.max())


def _png(levels: NDArray[np.float64]) -> str:
    from PIL import Image

    place = ((levels[::-1] + 70) / 70).clip(0, 1) * (len(STOPS) - 1)
    low = np.minimum(place.astype(int), len(STOPS) - 2)
    colours = STOPS[low] + (STOPS[low + 1] - STOPS[low]) * (place - low)[..., None]
    file = io.BytesIO()
    Image.fromarray(colours.astype(np.uint8)).quantize(64).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def calibration(found: dict[str, Any]) -> str:
    """The result of a calibration."""
    text = (
        f"{found['trials']} pairs, {found['targets']} of one speaker. Equal error rate {100 * found['eer']:.1f} %; "
        f"threshold {found['threshold']:.3f} (95 %: {found['threshold_low']:.3f} to {found['threshold_high']:.3f}); "
        f"Cllr {found['cllr']:.3f} bits."
    )
    return _card("good", "Calibrated on your recordings", escape(text))
