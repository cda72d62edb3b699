"""What is heard of a file: its samples and how they are played, by one strict reading and by a second reader."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechssl.audio import WRITABLE
from speechssl.audio.decoding import native, reason
from speechssl.errors import InputError
from speechssl.receipts.containers import Bytes, Facts, structure

Samples = NDArray[np.generic]

BLOCK = 1 << 18  # samples read at a time
LONGEST = 1 << 32  # samples: a day at 48 kHz
LEVEL = 1.0  # dB in any second between two decoders of Opus or MP3, whose samples differ
INNER = ("bits", "md5", "padding", "plain")  # facts that no receipt has
LOOKAHEAD, PADDING = 312, 2880  # of libopus at 48 kHz: what it skips, and less than what it adds at the end


def heard(path: Path) -> Facts:
    """What a receipt says of the sound, which nobody changes without changing this.

    Returns:
        ``coding`` and ``sha256``: of the samples of WAV and FLAC, as int32 or float32; of the coded packets of Opus and
        MP3, which every decoder decodes alike. How they are played: rate, channels, samples or frames, and for Opus the
        gain, the samples that are skipped and the last one that is played.
    Raises:
        InputError: another extension, no such file, or one that players may play differently.
    """
    return {name: value for name, value in _measured(path).items() if name not in INNER}


def heard_in_format_1(path: Path) -> Facts:
    """What receipts of the format 1 say; gain and end of Opus are not in it, and have to be as speechssl writes them.

    Raises:
        InputError: as ``heard``; or Opus with another gain, beginning or end.
    """
    found = _measured(path)
    if found["coding"] == "opus":
        if found["gain"] or found["pre_skip"] != LOOKAHEAD or found["padding"] >= PADDING:
            raise InputError(
                "its receipt, of an older speechssl, says nothing of gain, beginning and end, and these are not those "
                "of a new file; ask its maker to convert again, with a receipt of today"
            )
        return {"coding": "ogg", "sha256": found["plain"]}
    if found["coding"] == "mp3":
        return {"coding": "mp3", "sha256": found["sha256"]}
    return {name: value for name, value in found.items() if name not in INNER}


def check_second_reader(path: Path, facts: Facts) -> None:
    """Let FFmpeg decode the file as well as libsndfile, second by second.

    Args:
        path: the file.
        facts: of ``heard``.
    Raises:
        InputError: they differ.
    """
    lossy = path.suffix.lower() not in (".wav", ".flac")
    second = _by_ffmpeg(path, lossy=lossy)
    if not lossy:
        alike = second.digest.hexdigest() == facts["sha256"]
    else:
        with _opened(path) as file:
            first = _Ear(file.samplerate, lossy=True)
            for block in _blocks(file, "float32"):
                first.hear(block)
            first.finish()
            alike = first.count * second.rate == second.count * first.rate and first.sounds_like(second)
    if not alike:
        raise InputError("libsndfile and FFmpeg play it differently; the file as speechssl wrote it needed")


class _Ear:
    """What is kept of samples that come in blocks (N, C): their number, and a digest or the energy of each second."""

    def __init__(self, rate: int, *, lossy: bool) -> None:
        self.digest, self.count, self.rate, self.lossy = hashlib.sha256(), 0, rate, lossy
        self._energies: dict[int, float] = {}
        self._waiting: list[Any] = []

    def hear(self, block: Any) -> None:
        """Take a block; many small ones are put together."""
        self._waiting.append(block)
        if sum(map(len, self._waiting)) >= BLOCK:
            self.finish()

    def finish(self) -> None:
        """Take what waits."""
        if not self._waiting:
            return
        block, self._waiting = np.concatenate(self._waiting), []
        if self.lossy:
            energy = np.square(block, dtype=np.float32).mean(axis=1)
            first = self.count // self.rate
            seconds = (self.count + np.arange(len(block))) // self.rate - first
            for second, total in enumerate(np.bincount(seconds, energy).tolist(), first):
                self._energies[second] = self._energies.get(second, 0.0) + total
        else:
            self.digest.update(block.astype(block.dtype.newbyteorder("<")).tobytes())
        self.count += len(block)

    def levels(self) -> list[float]:
        """dB of each second, from -60 on."""
        return [10 * math.log10(max(energy / self.rate, 1e-6)) for _, energy in sorted(self._energies.items())]

    def sounds_like(self, other: _Ear) -> bool:
        pairs = zip(self.levels(), other.levels(), strict=True)
        return all(abs(one - two) < LEVEL for one, two in pairs)


def _measured(path: Path) -> Facts:
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise InputError(f"{path}: receipts are for {', '.join(WRITABLE)}")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            facts = structure(data, suffix)
            if facts["coding"] in ("int32", "float32"):
                facts |= {"sha256": _digest(path, facts)}
            if suffix == ".flac":
                _check_end(data, facts["samples"])
            return facts
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"it cannot be read ({reason(error)}); a whole recording needed") from error


def _digest(path: Path, facts: Facts) -> str:
    """SHA-256 of the samples; whole numbers as int32 (16 and 24 bits shifted up), so that WAV and FLAC agree."""
    digest, whole, got = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with _opened(path) as file:
        for block in _blocks(file, facts["coding"]):
            digest.update(block.astype(block.dtype.newbyteorder("<")).tobytes())
            if "md5" in facts:
                whole.update(_as_coded(block, facts["bits"]))
            got += len(block)
        said = (facts["sample_rate"], facts["channels"], facts["samples"])
        if (file.samplerate, file.channels, got) != said:
            raise InputError(f"it holds {got} samples; its header says otherwise: a whole recording needed")
    if facts.get("md5", whole.hexdigest()) != whole.hexdigest():
        raise InputError("its samples are not those of its own checksum; a whole recording needed")
    return digest.hexdigest()


def _as_coded(block: Any, bits: int) -> bytes:
    """Samples as FLAC counts them in its checksum: little-endian, in 2 or 3 bytes."""
    return block.astype("<i4").reshape(-1, 1).view("u1")[:, 4 - bits // 8 :].tobytes()


def _check_end(data: Bytes, samples: int) -> None:
    """Without its last byte, the last sample of a FLAC file is gone: nothing lies behind the stream."""
    import soundfile

    with contextlib.suppress(soundfile.LibsndfileError), soundfile.SoundFile(io.BytesIO(data[:-1])) as file:
        file.seek(samples - 1)
        if len(file.read(1)):
            raise InputError("something lies behind its last frame; the file as speechssl wrote it needed")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import soundfile

    with soundfile.SoundFile(native(path)) as file:
        if not 0 < file.frames <= LONGEST:
            raise InputError(f"it holds {file.frames} samples; 1 to {LONGEST} needed")
        yield file


def _blocks(file: Any, kind: str) -> Iterator[Samples]:
    while len(block := file.read(BLOCK, dtype=kind, always_2d=True)):
        yield block


def _by_ffmpeg(path: Path, *, lossy: bool) -> _Ear:
    import av

    options = {"format_whitelist": "wav,flac,ogg,mp3"}
    ear = None
    try:
        with path.open("rb") as file, av.open(file, container_options=options) as container:
            if len(container.streams) != 1 or not container.streams.audio:
                raise InputError("it has several tracks; the file as speechssl wrote it needed")
            for frame in container.decode(audio=0):
                ear = ear or _Ear(frame.sample_rate, lossy=lossy)
                part, channels = frame.to_ndarray(), frame.layout.nb_channels
                block = part.T if frame.format.is_planar else part.reshape(-1, channels)
                # 16 bits are shifted up as libsndfile does, 24 bits are shifted already
                ear.hear(block.astype("i4") << 16 if block.dtype.itemsize == 2 else block)
    except (av.FFmpegError, OSError, EOFError) as error:
        raise InputError(f"FFmpeg cannot decode it ({reason(error)}); a whole recording needed") from error
    if ear is None:
        raise InputError("FFmpeg finds no samples in it; a whole recording needed")
    ear.finish()
    return ear
