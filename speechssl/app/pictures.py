"""Pictures and messages as HTML: SVG follows the colours of the page, shrinks on a phone, and has a description."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from speechssl.app import mel_image
from speechssl.app.markup import element, html, kept, listed, table
from speechssl.signals import Waveform

if TYPE_CHECKING:
    from speechssl.conversion.result import Attribution, Conversion
    from speechssl.verification.decisions import Decision
    from speechssl.voices.reference_report import ReferenceReport

COLOURS = ("#4f7cff", "#f08c3a", "#2fa36b", "#c65bcf", "#d6455d", "#1aa7b8", "#9a7b2f", "#7a6cf0")
WIDTH = 340.0  # of a drawing: about the pixels of a phone, which keeps letters of 11 readable there
MARKED_SECOND = 450.0  # width of a second whose stretches have names: 9 for 20 ms


def spectrogram(
    waveform: Waveform, title: str, *, marks: Sequence[tuple[float, float, str]] = (), width: float = WIDTH
) -> str:
    """A mel spectrogram with a time axis.

    Args:
        waveform: its first ``mel_image.LONGEST`` seconds are drawn.
        title: shown above the picture, and part of its description.
        marks: stretches (start, end, name) drawn over the picture, wide enough to read the first word of each name; the
            picture then scrolls.
        width: of the drawing. A narrow drawing has larger letters when it is shown small.
    """
    seconds = min(waveform.seconds, mel_image.LONGEST)
    height, left, top = 150.0, 40.0, 4.0
    wide = bool(marks) and left + seconds * MARKED_SECOND > width
    width = left + seconds * MARKED_SECOND if wide else width
    image = mel_image.png(waveform, columns=6000 if wide else 1200)
    box = {"y": top, "height": height}
    source = f"data:image/png;base64,{image}"
    parts = [element("image", href=source, x=left, width=width - left, **box, preserveAspectRatio="none")]
    scale = (width - left) / seconds
    for number, (start, end, name) in enumerate(marks):
        if start >= seconds:
            break
        x, w = left + start * scale, (min(end, seconds) - start) * scale
        look = {"fill": "#fff", "fill_opacity": 0.1 if number % 2 else 0, "stroke": "#fff", "stroke_opacity": 0.3}
        parts.append(element("rect", element("title", name), x=x, width=w, **box, **look, stroke_width=0.5))
        # upright, a name fits into the shortest stretch, 20 ms
        place = f"translate({x + w / 2 - 3:.1f} {top + 4}) rotate(90)"
        edge = {"fill": "#fff", "stroke": "#000", "stroke_opacity": 0.55, "stroke_width": 2, "paint_order": "stroke"}
        parts.append(element("text", name.split()[0], transform=place, font_size=9, **edge))
    parts += [_label(left - 5, top + height, "0"), _label(left - 5, top + 10, "8 kHz")]
    parts += _seconds(seconds, left, width, top + height)
    return _figure(parts, width, top + height + 20, title, f"mel spectrogram, {seconds:.1f} seconds", scrolled=wide)


def timeline(made: Conversion) -> str:
    """Draw which second of which reference the output was made of: runs of the neighbour with the largest weight."""
    seconds = len(made.features) / made.features.frame_rate
    runs = [run for one in made.attributions for run in _runs(one, made.features.frame_rate)]
    names = list(dict.fromkeys(name for _, _, name, _ in runs))
    last = max((place + end - start for start, end, _, place in runs), default=1.0)
    width, height, left, top = WIDTH, 120.0, 44.0, 6.0
    across, up = (width - left) / seconds, height / last
    parts = [element("line", x1=left, y1=top, x2=left, y2=top + height, stroke="currentColor", stroke_opacity=0.4)]
    for start, end, name, place in runs:
        x1, x2 = left + start * across, left + end * across
        y1, y2 = top + height - place * up, top + height - (place + end - start) * up
        text = f"{start:.2f}–{end:.2f} s: {name}, {place:.2f}–{place + end - start:.2f} s"
        # as thick on a wide screen as on a phone
        look = {"stroke": COLOURS[names.index(name) % len(COLOURS)], "stroke_width": 3.2, "stroke_linecap": "round",
                "vector_effect": "non-scaling-stroke"}  # fmt: skip
        parts.append(element("line", element("title", text), x1=x1, y1=y1, x2=max(x2, x1 + 1.5), y2=y2, **look))
    parts += [_label(left - 5, top + height, "0 s"), _label(left - 5, top + 10, f"{last:.0f} s")]
    parts += _seconds(seconds, left, width, top + height)
    picture = _figure(
        parts, width, top + height + 20, "Where each part came from",
        f"{len(runs)} runs from {len(names)} recordings; across: seconds of the result, up: seconds of the recording",
    )  # fmt: skip
    return picture + _legend(zip(COLOURS, map(kept, names), strict=False))


def verdict(decision: Decision | str, heads: tuple[str, str]) -> str:
    """The result of verification, as a sentence and a scale.

    Args:
        decision: or a sentence that says why nothing was decided.
        heads: the headings of a decision that accepts and of one that rejects.
    """
    if isinstance(decision, str):
        return _card("muted", "Not verified", _sentence(decision))
    number = "" if decision.probability is None else _percent(decision.probability)
    kind, head = {
        True: (_trusted(decision.remarks), heads[0]),
        False: ("bad", heads[1]),
        None: ("muted", "No decision"),
    }[decision.accepted]
    limit = "" if decision.threshold is None else f", accepted from {decision.threshold:.2f}"
    tail = f"Score {decision.score:.3f}{limit}" + (f"; probability {number} at even odds." if number else ".")
    remarks = listed(map(_sentence, decision.remarks))
    origin = html('<div class="fine">Threshold: {}.</div>', decision.threshold_source)
    return _card(kind, head, html("{}{}{}{}", tail, remarks, _scale(decision), origin))


def report(found: ReferenceReport) -> str:
    """The report on references: a verdict, and a table of the recordings."""
    kind = "good" if not found.remarks else "warn"
    rows = [
        (kept(one.name, "td", class_="breaks"), f"{one.speech_seconds:.1f} s", _number(one.snr_db, " dB"),
         f"{100 * one.clipping:.2f} %", _number(one.loudness, " LUFS"))
        for one in found.recordings
    ]  # fmt: skip
    shown = table(("recording", "speech", "SNR", "clipped", "loudness"), rows)
    head = "Good references" if not found.remarks else "These references could be better"
    return _card(kind, head, html("{}{}", _sentence(found.verdict), shown))


def source(remarks: Sequence[str]) -> str:
    """Remarks on a source; nothing without any."""
    return _card("warn", "This recording may not convert well", listed(map(_sentence, remarks))) if remarks else ""


def running(text: str, share: float = 0.0, left: float | None = None) -> str:
    """A job at work: its step, how much is done, 0 to 1, and the seconds left."""
    bar = html('<progress max="1" value="{:.2f}" aria-label="done so far"></progress>', share)
    more = "" if left is None else f"About {max(1, round(left))} s left."
    return _card("muted running", _sentence(text).rstrip("."), html("{}{}", bar, more))


def enrolled(text: str, remarks: Sequence[str]) -> str:
    """What was enrolled, and what makes it doubtful."""
    if not remarks:
        return html('<p role="status">{}</p>', text)
    return _card("warn", text, listed(map(_sentence, remarks)))


def failed(text: str, *, beside: bool, head: str = "Nothing was made") -> str:
    """A job that ended before its time; ``beside`` if the reason also stands beside a field."""
    shown = html('<p class="{}">{}</p>', "" if beside else "problem", _sentence(text))
    return _card("bad failed", head, shown)


def finished(head: str, decision: Decision | str, name: str, remarks: Iterable[str] = ()) -> str:
    """A job that is done: what was made, whether it sounds like the voice of this name, and remarks."""
    notes = [_sentence(one) for one in remarks if one]
    kind, said = "good" if str(decision).startswith("not judged") else "warn", decision
    if not isinstance(decision, str):
        sure = "" if decision.probability is None else f" ({_percent(decision.probability)})"
        kind, said = {
            True: ("good", f"Sounds like {name}{sure}"),
            False: ("warn", f"Does not sound like {name}{sure}"),
            None: ("good", "No decision whether it sounds like the voice; see the details"),
        }[decision.accepted]
    return _card(f"{'warn' if notes else kind} finished", head, html("{}{}", _sentence(str(said)), listed(notes)))


def done(converter: str, reason: str) -> str:
    """The converter that was used, and the reason."""
    why = "as asked" if reason == "as asked" else f"chosen for {reason}"
    return html('<p class="small">Converter <em>{}</em>, {}.</p>', converter, why)


def batch(rows: Sequence[dict[str, Any]]) -> str:
    """The result of each recording of a zip."""
    failed = sum(bool(row["error"]) for row in rows)
    shown = table(("recording", "seconds", "passes", "in the zip as"), map(_batch_row, rows))
    kind = "good" if not failed else "warn" if failed < len(rows) else "bad"
    return _card(f"{kind} finished", f"{len(rows) - failed} of {len(rows)} converted.", shown)


def _batch_row(row: dict[str, Any]) -> list[object]:
    name = kept(row["recording"], "td", class_="breaks")
    if row["error"]:
        return [name, element("td", _sentence(row["error"]), colspan=3, class_="problem breaks")]
    if row["remark"]:
        remark = element("td", _sentence(row["remark"]), class_="breaks")
        return [name, f"{row['seconds']:.1f}", remark, kept(row["output"], "td", class_="breaks")]
    passes = "–" if row["accepted"] == "" else "no decision"
    if row["accepted"] in (True, False):
        passes = f"{'yes' if row['accepted'] else 'no'}, {_percent(row['probability'])}"
    return [name, f"{row['seconds']:.1f}", passes, kept(row["output"], "td", class_="breaks")]


def voice(facts: dict[str, Any]) -> str:
    """The recordings of a stored voice, and its consent."""
    rows = [
        (kept(one["name"], "td", class_="breaks"), f"{one['seconds']:.1f} s", _number(one["f0"] or math.nan, " Hz"),
         element("td", element("code", one["sha256"][:8]), title=f"SHA-256 {one['sha256']}"))
        for one in facts["recordings"]
    ]  # fmt: skip
    shown = table(("recording", "length", "pitch", "checksum"), rows)
    consents = listed(kept(f"{one['who']}, {one['when'][:10]}: {one['purpose']}") for one in facts["consents"])
    head = f"{facts['seconds']:.1f} s, {facts['frames']} frames of {facts['model']}, {facts['megabytes']:.2f} MB"
    told = html("Consent{}", consents) if consents else html("Stored without an attestation.")
    if consents and facts["uncovered"]:
        told += html("<div>Without an attestation: {}.</div>", ", ".join(facts["uncovered"]))
    made = html("<div>{}; stored {}.</div>", head, facts["created"][:10])
    return _card("warn" if facts["uncovered"] else "good", kept(facts["name"]), html("{}{}{}", made, shown, told))


def problem(text: str) -> str:
    """An error beside its field; empty text shows nothing."""
    return html('<p class="problem" role="alert">{}</p>', _sentence(text)) if text else ""


def ranked(found: dict[str, Any]) -> str:
    """Enrolled speakers by score: what ``handlers.speakers.identify`` gives."""
    words = {True: "yes", False: "no", None: "no decision"}
    rows = [(kept(row["speaker"], "td", class_="breaks"), f"{row['score']:.3f}", words[row["accepted"]])
            for row in found["ranked"][:10]]  # fmt: skip
    shown = table(("speaker", "score", "accepted"), rows)
    kind, head = {
        "known": (_trusted(found["remarks"]), f"This is {found['speaker']}"),
        "unknown": ("warn", "Nobody who is enrolled"),
        "none": ("muted", "No decision"),
    }[found["decision"]]
    return _card(kind, head, html("{}{}", listed(map(_sentence, found["remarks"])), shown))


def histogram(same: Sequence[float], other: Sequence[float], decision: Decision, source: str) -> str:
    """Histograms of known same-speaker and different-speaker scores, and a line at this score."""
    edges = np.linspace(-0.4, 1.0, 43)
    counts = [np.histogram(values, edges)[0] / max(1, len(values)) for values in (same, other)]
    top_share = max(float(count.max()) for count in counts) or 1.0
    width, height, left, top = WIDTH, 100.0, 14.0, 14.0
    step = (width - 2 * left) / (len(edges) - 1)
    parts = []
    for count, colour in zip(counts, (COLOURS[2], COLOURS[4]), strict=True):
        for number, share in enumerate(count):
            bar = height * float(share) / top_share
            place = {"x": left + number * step, "y": top + height - bar, "width": step - 1, "height": bar}
            parts.append(element("rect", **place, fill=colour, fill_opacity=0.55))

    def at(value: float) -> float:
        first, last = float(edges[0]), float(edges[-1])
        return left + (min(max(value, first), last) - first) / (last - first) * (width - 2 * left)

    if decision.threshold is not None:
        parts.append(_upright(at(decision.threshold), top, height, "4 3"))
    parts.append(_upright(at(decision.score), top, height, ""))
    parts.append(_label(at(decision.score), top - 3, f"{decision.score:.2f}", "middle"))
    parts += [_label(at(value), top + height + 14, f"{value:g}", "middle") for value in (-0.4, 0.0, 0.5, 1.0)]
    kinds = ((COLOURS[2], f"one speaker ({len(same)})"), (COLOURS[4], f"two speakers ({len(other)})"))
    text = f"scores of one and of two speakers; this one is {decision.score:.2f}"
    return _figure(parts, width, top + height + 20, "Among other scores", text) + _legend(kinds, source)


def _upright(x: float, top: float, height: float, dashes: str) -> Markup:
    look = {"stroke": "currentColor", "stroke_width": 2, "stroke_dasharray": dashes}
    return element("line", x1=x, y1=top, x2=x, y2=top + height, **look)


def _legend(kinds: Iterable[tuple[str, str]], more: str = "") -> Markup:
    spans = [html('<span><i style="background:{}"></i>{}</span>', colour, name) for colour, name in kinds]
    return html('<div class="legend">{}</div>', html("").join([*spans, *([element("span", more)] if more else [])]))


def _scale(decision: Decision) -> Markup:
    if decision.threshold is None:
        return html("")
    value, limit = (100 * min(max((x + 0.2) / 1.2, 0.0), 1.0) for x in (decision.score, decision.threshold))
    marks = html('<b style="left:{:.1f}%"></b><i style="left:{:.1f}%"></i>', limit, value)
    return html('<div class="scale" aria-hidden="true">{}</div>', marks)


def _trusted(remarks: Iterable[str]) -> str:
    """Kind of the card of an answer that accepts: no green for a recording that may be synthetic."""
    from speechssl.verification import synthetic

    return "warn" if any(synthetic.REMARK in remark for remark in remarks) else "good"


def _card(kind: str, head: str, body: str) -> Markup:
    return html('<div class="card {}" role="status"><strong>{}</strong><div>{}</div></div>', kind, head, body)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    if not re.match(r"[^.:;(]*\.[A-Za-z]\w{1,4}\b", text):
        # a file name keeps its case
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."


def _percent(share: float) -> str:
    """A probability in percent; never 0 or 100, because nothing is certain."""
    return "less than 1 %" if share < 0.01 else "more than 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _number(value: float, unit: str) -> str:
    return f"{value:.0f}{unit}" if math.isfinite(value) else "–"


def _figure(
    parts: Sequence[Markup], width: float, height: float, title: str, text: str, *, scrolled: bool = False
) -> Markup:
    drawn = html(
        '<svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}" style="{}">{}</svg>',
        width, height, f"{title}: {text}", f"width:{width:.0f}px" if scrolled else "", html("").join(parts),
    )  # fmt: skip
    if scrolled:
        # with the focus, the arrow keys scroll
        title = f"{title}; scroll sideways for all"
        drawn = html('<div class="scrolled" tabindex="0" role="region" aria-label="{}">{}</div>', title, drawn)
    return html('<figure class="picture"><figcaption>{}</figcaption>{}</figure>', title, drawn)


def _label(x: float, y: float, text: str, anchor: str = "end") -> Markup:
    look = {"font_size": 11, "text_anchor": anchor, "fill": "currentColor", "opacity": 0.7}
    return element("text", text, x=x, y=y, **look)


def _seconds(seconds: float, left: float, width: float, y: float) -> list[Markup]:
    step = next(step for step in (0.2, 0.5, 1, 2, 5, 10, 20, 1e9) if seconds / step <= (width - left) / 55)
    ticks = [tick * step for tick in range(int(seconds / step - 0.3) + 1)]
    places = [left + tick / seconds * (width - left) for tick in ticks]
    anchors = ["start" if tick == 0 else "middle" for tick in ticks]
    return [_label(x, y + 14, f"{tick:g} s", how) for x, tick, how in zip(places, ticks, anchors, strict=True)]


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


def calibration(found: dict[str, Any]) -> str:
    """The result of a calibration."""
    text = (
        f"{found['trials']} pairs, {found['targets']} of one speaker. Equal error rate {100 * found['eer']:.1f} %; "
        f"threshold {found['threshold']:.3f} (95 %: {found['threshold_low']:.3f} to {found['threshold_high']:.3f}); "
        f"Cllr {found['cllr']:.3f} bits."
    )
    return _card("good", "Calibrated on your recordings", text)
