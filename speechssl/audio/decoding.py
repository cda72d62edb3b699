"""Any audio file as checked blocks, of one channel or of all: by libsndfile, or by FFmpeg where libsndfile cannot.

``speechssl.audio`` is what the rest of the package calls; here is what it stands on.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from speechssl.errors import InputError

Samples: TypeAlias = NDArray[np.float32]
Mix: TypeAlias = Callable[[Samples], Samples]

_STDERR = threading.Lock()
BLOCK = 1 << 16  # samples read, filtered or written at a time: 4 s at 16 kHz
LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # Hz; a header that says otherwise is damaged
TALLEST = 1_000.0  # times full scale, 60 dB: no level of sound
STREAMED = 0x7FFFF000  # bytes; programs that write WAV to a pipe put a length from here up, not knowing it
# demuxers FFmpeg may use: media only, none that follows paths or addresses written inside the file (playlists)
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,amr,asf,avi,flv,mpegts,mpeg,mp3,ogg,wav,w64,flac,ape,wv,tta,caf,"
    "aiff,ac3,eac3,dts"
)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file says of itself.

    Args:
        sample_rate: Hz.
        channels: >= 1.
        seconds: duration; from compressed containers an estimate, 0 if they do not say.
        subtype: coding, e.g. ``"PCM_24"``, ``"OPUS"``, ``"aac"``.
    """

    sample_rate: int
    channels: int
    seconds: float
    subtype: str


@dataclass(frozen=True, slots=True)
class Source:
    """An open file: its facts, and its samples as blocks float32, each mixed and checked when it is asked for."""

    info: AudioInfo
    blocks: Iterator[Samples]


def check_file(path: Path) -> None:
    """Make sure that there is a file with something in it that may be read.

    Raises:
        InputError: there is not.
    """
    try:
        # asked before opening, which waits on a pipe
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InputError(f"{path} is a pipe or a device; an audio file needed: save it to one first")
        with path.open("rb") as file:
            if file.read(1):
                return
    except FileNotFoundError:
        if re.match(r"[a-z0-9+]{2,}:/", str(path)):
            raise InputError(f"{path} is an address; an audio file needed: download it, and name the file") from None
        raise InputError(f"{path} does not exist; an audio file needed: check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; an audio file needed: name the files in it") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {path}: {reason(error)}; check the path, or make it readable") from error
    raise InputError(f"{path} is empty (0 bytes); an audio file needed: copy or record it again")


def check_height(name: str, block: Samples) -> None:
    """Refuse samples that were left as whole numbers when they became floating point.

    Args:
        name: what has the samples.
    Raises:
        InputError: samples beyond 60 dB above full scale.
    """
    if (height := np.abs(block).max(initial=0.0)) > TALLEST:
        raise InputError(f"{name}: samples reach {height:.0f}, far beyond [-1, 1]; divide those of 16 bits by 32768")


def mean(block: Samples) -> Samples:
    """(T, C) to (T,): the mean of the channels."""
    return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float64).astype(np.float32)


@contextlib.contextmanager
def _quiet(path: Path) -> Iterator[None]:
    """Keep libmpg123 from writing on stderr what the error says already; for files that are MP3 or may be.

    The stream belongs to the process, so one thread at a time.
    """
    with path.open("rb") as file:
        head = file.read(3)
    if not (head == b"ID3" or path.suffix.lower() == ".mp3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")):
        yield
        return
    with _STDERR:
        try:
            kept = os.dup(2)
        except OSError:  # closed
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


@contextlib.contextmanager
def opened(path: Path, mix: Mix = mean) -> Iterator[Source]:
    """The file as a source of checked blocks, closed at the end.

    Args:
        path: the file.
        mix: what becomes of each block (T, C).
    Raises:
        InputError: no audio file.
    """
    import soundfile

    check_file(path)
    with contextlib.ExitStack() as stack:
        try:
            with _quiet(path):
                file = stack.enter_context(_forward_only(path))
        # TypeError: soundfile takes .raw for samples without a header and asks for their rate
        except (soundfile.LibsndfileError, TypeError):
            source = _by_ffmpeg(path, stack, mix)
        else:
            source = _by_libsndfile(path, file, mix)
        if not LOWEST_RATE <= source.info.sample_rate <= HIGHEST_RATE:
            raise InputError(
                f"{path} says its sample rate is {source.info.sample_rate} Hz; {LOWEST_RATE} to {HIGHEST_RATE} needed: "
                "its header is damaged, convert it again"
            )
        yield Source(source.info, _checked(path, source))


def _checked(path: Path, source: Source) -> Iterator[Samples]:
    done = 0
    for block in source.blocks:
        if not np.isfinite(block).all():
            second = (done + int(np.argmin(np.isfinite(block)))) / source.info.sample_rate
            raise InputError(
                f"{path} holds NaN or infinite samples, the first at {second:.3f} s; finite ones needed: "
                "export it again, or cut that place out"
            )
        check_height(str(path), block)
        done += len(block)
        yield block
    if not done:
        raise InputError(f"{path} holds no samples; at least one needed: copy or record it again")


def _check_whole(path: Path, got: int, promised: int, rate: int) -> None:
    # some encoders count their own padding: a tenth of a second or a hundredth of the whole may be missing
    if promised - got > max(0.1 * rate, 0.01 * promised):
        raise InputError(
            f"{path} is cut short: {got / rate:.2f} s found, {promised / rate:.2f} s promised by its header; "
            "copy it again, or export what is left of it to a new file"
        )


def native(path: Path) -> str | bytes:
    """A path as soundfile takes it: it encodes text itself, and refuses names that are no UTF-8."""
    return os.fsencode(path) if os.name == "posix" else str(path)


def _forward_only(path: Path) -> Any:
    import soundfile

    class ForwardOnly(soundfile.SoundFile):  # type: ignore[misc]
        """Claims not to seek: soundfile else seeks to where it is after each read, where MP3 loses what it remembers
        from frame to frame and decodes a few milliseconds wrongly.
        """

        def seekable(self) -> bool:
            return False

    return ForwardOnly(native(path))


def _by_libsndfile(path: Path, file: Any, mix: Mix) -> Source:
    import soundfile

    rate, promised = file.samplerate, file.frames

    def blocks() -> Iterator[Samples]:
        # libsndfile trims the length of a WAV to what is there and only says so in its log
        if found := re.search(r"(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", file.extra_info):
            said, held = int(found[1]), int(found[2])
            if said < STREAMED:
                _check_whole(path, promised, round(promised * said / max(held, 1)), rate)
        got = 0
        while True:
            try:
                with _quiet(path):
                    block = file.read(BLOCK, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise InputError(_damaged(path, got / rate, error)) from error
            if len(block) == 0:
                break
            got += len(block)
            yield mix(block)
        _check_whole(path, got, promised, rate)

    return Source(AudioInfo(rate, file.channels, promised / rate, file.subtype), blocks())


def _by_ffmpeg(path: Path, stack: contextlib.ExitStack, mix: Mix) -> Source:
    try:
        import av
    except ImportError:
        raise InputError(
            f"{path} is no format libsndfile reads (WAV, FLAC, Ogg, MP3 ...); `pip install av` to read more of them"
        ) from None
    try:
        # a file object, not a name: FFmpeg would take some names for addresses
        file = stack.enter_context(path.open("rb"))
        container = stack.enter_context(av.open(file, container_options={"format_whitelist": DEMUXERS}))
        if not container.streams.audio:
            raise InputError(f"{path} holds no audio track; a file with one needed")
        track = container.streams.audio[0]
        frames = container.decode(track)
        first = next(frames, None)
    except (av.FFmpegError, OSError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is not audio that libsndfile or FFmpeg can read, or it is damaged ({reason(error)}); "
            "WAV, FLAC, Ogg, MP3, M4A ... needed: check it in a player, convert it to WAV"
        ) from error
    if first is None:
        raise InputError(f"{path} holds no samples; at least one needed: copy or record it again")
    # the first frame knows the true rate; containers of HE-AAC give half of it
    rate, seconds = first.sample_rate, float(track.duration * track.time_base) if track.duration else 0.0
    about = AudioInfo(rate, first.layout.nb_channels, seconds, track.codec_context.name)
    # MP4 knows the exact length, without the padding of the last packet; elsewhere it is an estimate
    promised = round(seconds * rate) if "mp4" in container.format.name else 0
    return Source(about, _decoded(path, first, frames, promised, mix))


def _decoded(path: Path, first: Any, frames: Iterator[Any], promised: int, mix: Mix) -> Iterator[Samples]:
    import av

    rate, got = first.sample_rate, 0
    converter = av.AudioResampler(format="fltp", layout=first.layout, rate=rate)
    try:
        for frame in itertools.chain([first], frames, [None]):
            for part in converter.resample(frame):
                block = mix(np.ascontiguousarray(part.to_ndarray().T, dtype=np.float32))
                block = block[: promised - got] if promised else block
                got += len(block)
                if len(block):
                    yield block
    except (av.FFmpegError, OSError, EOFError) as error:
        raise InputError(_damaged(path, got / rate, error)) from error
    _check_whole(path, got, promised, rate)


def _damaged(path: Path, second: float, error: Exception) -> str:
    return (
        f"{path} is damaged: nothing can be decoded after {second:.2f} s ({reason(error)}); "
        "copy it again, or export what is left of it to a new file"
    )


def reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).strip().rstrip(".")
