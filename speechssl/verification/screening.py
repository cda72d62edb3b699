"""Screen a recording before a decision: channels, a second speaker, synthetic speech, sounds that are no voice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speechssl import audio
from speechssl.signals import Embedder, Embedding, Waveform
from speechssl.verification import speech_classifier, synthetic
from speechssl.verification.band import Band, measure
from speechssl.verification.calibration import Calibration
from speechssl.verification.scoring import counting, score

MIN_SPEECH = 1.0  # seconds of speech below which no score is given
FEW_SPEECH = 3.0  # seconds below which a score is given with a remark
APART = 0.1  # power of the difference of two channels, by that of both, above which they are heard apart
CLIPPED = 0.001  # share of clipped samples that is heard
PIECE, MOST_PIECES = 2.0, 60  # seconds of the pieces in which two speakers are looked for, and how many
SUSPICION = -4.0  # log-likelihood ratio of two parts being one speaker, below which two speakers are suspected


def channels_apart(path: str | Path) -> list[tuple[Waveform, speech_classifier.Hearing]]:
    """The first two channels with what is heard in them; empty if they do not differ or there is one channel."""
    if audio.info(path).channels < 2:
        return []
    both = [audio.read_channel(path, number) for number in (0, 1)]
    left, right = (waveform.samples for waveform in both)
    if float((left - right).square().mean()) <= APART * float((left.square() + right.square()).mean()):
        return []
    return [(waveform, speech_classifier.hear(waveform)) for waveform in both]


def remarks_on(
    waveform: Waveform,
    heard: speech_classifier.Hearing,
    channels: list[tuple[Waveform, speech_classifier.Hearing]],
    band: Band | None,
    embedder: Embedder,
    calibration: Calibration | None,
) -> list[str]:
    """What makes a decision on a recording less sure, each with what would help.

    Args:
        waveform: the recording.
        heard: in the recording.
        channels: of ``channels_apart``.
        band: of the recording.
        embedder: that will embed the recording.
        calibration: of the embedder; without one nobody searches for synthetic speech, and without one on cosines for
            a second speaker.
    """
    remarks = []
    if waveform.sample_rate < embedder.sample_rate:
        remarks.append(
            f"sampled at {waveform.sample_rate} Hz, {embedder.sample_rate} Hz needed; without the higher frequencies a "
            "voice may not be known again"
        )
    if heard.active < FEW_SPEECH:
        remarks.append(f"only {heard.active:.1f} s of speech; {FEW_SPEECH:.0f} s make a surer decision")
    if (share := audio.clipping_fraction(waveform)) > CLIPPED:
        remarks.append(f"clipped ({100 * share:.1f} % of the samples); record at a lower level")
    if calibration is not None and synthetic.suspected(waveform, band):
        remarks.append(synthetic.REMARK)
    if calibration is not None and calibration.scoring == "cosine":
        ratio = two_speaker_llr(waveform, embedder, calibration)
        if ratio is not None and ratio < SUSPICION:
            remarks.append("two speakers suspected; give recordings of one speaker")
        speak = channels and all(one.likely >= MIN_SPEECH for _, one in channels)
        if speak and _of_two_speakers(channels, embedder, calibration):
            remarks.append("two speakers suspected, one in each channel; give the channel of one speaker")
    return remarks


def _of_two_speakers(
    channels: list[tuple[Waveform, speech_classifier.Hearing]], embedder: Embedder, calibration: Calibration
) -> bool:
    """Whether two channels that speak are decided to be of two people; on unknown lines only if it is plain."""
    first, second = (embedder.embed(one) for one, _ in channels)
    known, _ = calibration.serving([measure(channels[0][0])], measure(channels[1][0]))
    seconds = (channels[0][1].active, channels[1][1].active)
    fitting = known or calibration
    return fitting.llr(_score(first, second, embedder, fitting), seconds) < (0.0 if known else SUSPICION)


def unlike_speech(embedding: Embedding, cohort: Tensor | None, *, part: tuple[int, int] | None = None) -> bool:
    """Whether a recording lies farther from the cohort's voices than these lie from each other.

    Compared are means of the ten highest cosines: the recording's with the cohort, and the lowest hundredth of those
    within the cohort, less a fifth, for other microphones. How often music, noise and unseen voices pass is in
    ``recipes/speaker_verification/RESULTS.md``. False without a cohort of at least 50.
    """
    if cohort is None or cohort.shape[0] < 50:
        return False
    voices, vector = (torch.from_numpy(counting(x.double().numpy(), part)) for x in (cohort, embedding.vector))
    within = (voices @ voices.T).topk(11).values[:, 1:].mean(1)  # the highest is itself
    found = (voices @ vector).topk(10).values.mean()
    return bool(found < 0.8 * within.quantile(0.01))


def two_speaker_llr(waveform: Waveform, embedder: Embedder, calibration: Calibration) -> float | None:
    """How well the two most different parts of a recording fit one speaker; None if it is under 8 s long.

    For one recording of a trial; ``voices.second_speaker`` searches all recordings of a voice.
    Pieces of 2 s, up to 60 spread over the recording, are parted in two groups around the least similar pair; their
    means are scored like two recordings. The search for the worst parting makes the ratio lower than that of two chance
    halves.
    """
    size = round(PIECE * waveform.sample_rate)
    count = waveform.samples.shape[0] // size
    if count < 4:
        return None
    chosen = np.linspace(0, count - 1, min(MOST_PIECES, count)).astype(int)
    pieces = [Waveform(waveform.samples[i * size : (i + 1) * size], waveform.sample_rate) for i in chosen]
    spoken = [piece for piece in pieces if audio.speech_seconds(piece) >= PIECE / 2]
    if len(spoken) < 4:
        return None
    together = getattr(embedder, "embed_all", None)  # of equally long pieces, which costs less
    found = together(spoken) if together else [embedder.embed(piece) for piece in spoken]
    vectors = torch.stack([one.vector for one in found])
    cosines = vectors @ vectors.T
    means = list(vectors[list(divmod(int(cosines.argmin()), len(spoken)))])
    for _ in range(5):
        side = vectors @ means[0] >= vectors @ means[1]
        if min(int(side.sum()), int((~side).sum())) < 2:
            return None
        means = [torch.nn.functional.normalize(vectors[group].mean(0), dim=0) for group in (side, ~side)]
    halves = [Embedding(mean, embedder.origin) for mean in means]
    seconds = (PIECE * int(side.sum()), PIECE * int((~side).sum()))
    return calibration.llr(_score(halves[0], halves[1], embedder, calibration), seconds)


def _score(one: Embedding, other: Embedding, embedder: Embedder, calibration: Calibration) -> float:
    near = calibration.by_cohort
    cohort = embedder.cohort if near else None
    return score([one], other, cohort=cohort, part=calibration.part, by_cohort=near)
