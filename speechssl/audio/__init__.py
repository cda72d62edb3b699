"""Every sample that enters or leaves: read, write, resample, and measure it.

The names that most callers need are reachable from here: ``speechssl.audio.read``, ``write``, ``loudness`` ...
"""

from speechssl.audio.activity import clipping_fraction, snr_db, speech_activity, speech_seconds
from speechssl.audio.channels import taken as channel_taken
from speechssl.audio.contour import Follower
from speechssl.audio.decoding import AudioInfo
from speechssl.audio.f0_tracker import f0
from speechssl.audio.files import (
    SUFFIXES,
    WRITABLE,
    check_rate,
    checksum,
    held_rate,
    info,
    read,
    read_channel,
    read_mono,
    resample,
    stream,
    usual_rate,
    write,
    writing,
)
from speechssl.audio.given import recording, recordings
from speechssl.audio.levels import audible, limit_bursts, loudness, set_loudness, with_length
from speechssl.audio.names import refuse_overwriting, told_apart

__all__ = [
    "SUFFIXES",
    "WRITABLE",
    "AudioInfo",
    "Follower",
    "audible",
    "channel_taken",
    "check_rate",
    "checksum",
    "clipping_fraction",
    "f0",
    "held_rate",
    "info",
    "limit_bursts",
    "loudness",
    "read",
    "read_channel",
    "read_mono",
    "recording",
    "recordings",
    "refuse_overwriting",
    "resample",
    "set_loudness",
    "snr_db",
    "speech_activity",
    "speech_seconds",
    "stream",
    "told_apart",
    "usual_rate",
    "with_length",
    "write",
    "writing",
]
