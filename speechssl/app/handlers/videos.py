"""Videos: their sound as a source, and the video again with the converted sound in its place."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from speechssl import audio
from speechssl.app.handlers import recordings
from speechssl.app.jobs import Job
from speechssl.app.refusals import blaming
from speechssl.app.state import Settings
from speechssl.audio.decoding import DEMUXERS
from speechssl.errors import InputError

SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
IN_MP4 = ("h264", "hevc", "av1", "vp9", "mpeg4")  # codings of pictures that players expect in MP4
RATE = 48_000  # Hz of the sound in a video


def sound_of(settings: Settings, job: Job, video: Path) -> Path:
    """Write the sound of a video as a recording.

    Raises:
        Refused: no sound in it, or a too long one, for the field ``source``.
    """
    with blaming("source"):
        recordings.check([video], most=settings.source_seconds, what="the video")
        place = job.session.place(video.stem, ".wav")
        audio.write(place, audio.read(video))
    return place


def with_sound(video: Path, sound: Path, place: Path) -> Path:
    """Write a video whose pictures stay as they are, and whose sound is that of a recording.

    Args:
        video: its first track of pictures is copied, not coded again.
        sound: coded as AAC.
        place: without a suffix: MP4, or Matroska for pictures that MP4 does not hold.
    Raises:
        InputError: no pictures in it, or a damaged file.
    """
    import av

    try:
        with video.open("rb") as file, av.open(file, container_options={"format_whitelist": DEMUXERS}) as source:
            if not source.streams.video:
                raise InputError(f"{video.name} holds no pictures; give a video")
            shown = source.streams.video[0]
            made = place.with_name(f"{place.name}{'.mp4' if shown.codec_context.name in IN_MP4 else '.mkv'}")
            with av.open(str(made), "w") as target:
                track = target.add_stream_from_template(shown)
                voice = target.add_stream("aac", rate=RATE, layout="mono")
                coded = _coded(voice, sound)
                for packet in heapq.merge(
                    _copied(source, shown, track), coded, key=lambda packet: float(packet.dts * packet.time_base)
                ):
                    target.mux(packet)
    except av.FFmpegError as error:
        raise InputError(f"{video.name}: its pictures cannot be copied ({error}); give an MP4 or a WebM") from error
    return made


def _copied(source: Any, shown: Any, track: Any) -> Iterator[Any]:
    for packet in source.demux(shown):
        if packet.dts is not None:  # the last one is empty
            packet.stream = track
            yield packet


def _coded(voice: Any, sound: Path) -> Iterator[Any]:
    import av

    samples = audio.resample(audio.read(sound), RATE).samples.numpy()
    for begin in range(0, len(samples), RATE):
        frame = av.AudioFrame.from_ndarray(samples[None, begin : begin + RATE], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, begin, Fraction(1, RATE)
        yield from voice.encode(frame)
    yield from voice.encode(None)
