"""Audio files: read, stream, write, resample.

Files are read by libsndfile (WAV, FLAC, Ogg, MP3, AIFF, ...) and, if it cannot, by FFmpeg through PyAV (M4A, AAC, WMA,
video). Several channels become one by their mean, unless they cancel each other (``channels``). Samples stay float32,
which holds 24-bit audio exactly.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechssl import checkpoints
from speechssl.audio import channels
from speechssl.audio.decoding import BLOCK, AudioInfo, Samples, Source, check_file, native, opened, reason
from speechssl.checkpoints import kinds
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Waveform

if TYPE_CHECKING:
    from torch import Tensor


# what a folder is searched for; a file named by itself may be called anything
SUFFIXES = frozenset((".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".wma", ".aif", ".aiff")).union(
    (".aifc", ".au", ".caf", ".w64", ".rf64", ".mp4", ".webm", ".mka", ".mkv", ".mov")
)
# container and subtype libsndfile is asked for; WAV and FLAC of whole numbers come out the same byte for byte
WRITABLE = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "OPUS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
SUBTYPES = ("PCM_16", "PCM_24", "FLOAT")
RATES = {  # Hz; other codings hold any
    "OPUS": (8000, 12_000, 16_000, 24_000, 48_000),
    "MPEG_LAYER_III": (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}
# Hz that players and editors expect
USUAL = {".opus": 48_000, ".ogg": 48_000}
USUAL_ELSEWHERE = 44_100
HIGHEST_RATE = 10_000_000  # Hz; no recorder has half of it


def info(path: str | os.PathLike[str]) -> AudioInfo:
    """Rate, channels, duration and coding of a file, without decoding it.

    Raises:
        InputError: missing, a folder, empty, or not audio.
    """
    with opened(Path(path)) as source:
        return source.info


def checksum(recording: str | Path | Waveform) -> str:
    """SHA-256 of a file's bytes, or of a waveform's rate and samples, in hexadecimal digits.

    Raises:
        InputError: a file that cannot be read.
    """
    if isinstance(recording, Waveform):
        samples = recording.samples.detach().cpu().contiguous().numpy()
        return hashlib.sha256(f"{recording.sample_rate} Hz\n".encode() + samples.tobytes()).hexdigest()
    check_file(Path(recording))  # a pipe would be waited for
    try:
        return checkpoints.sha256_of(Path(recording))
    except CheckpointError as error:
        raise InputError(f"the recording {recording}: {error}; check the path") from error


@kinds.checked
def read(path: str | os.PathLike[str]) -> Waveform:
    """Read a file at its own sample rate, as the mean of its channels, or the loudest if they cancel. Silence is valid.

    Raises:
        InputError: missing, a folder, not audio, damaged, cut short, without samples, or with NaN or infinite samples.
    """
    with opened(Path(path), channels.mixed(Path(path))) as source:
        return _gathered(list(source.blocks), source.info.sample_rate)


def read_channel(path: str | os.PathLike[str], channel: int) -> Waveform:
    """As ``read``, but one channel alone, counted from 0.

    Raises:
        InputError: as ``read``; no such channel.
    """
    count = info(path).channels
    if not 0 <= channel < count:
        raise InputError(f"{path} has {count} channel(s); number {channel}, counted from 0, is not among them")
    with opened(Path(path), channels.only(channel)) as source:
        return _gathered(list(source.blocks), source.info.sample_rate)


@kinds.checked
def read_mono(
    path: str | os.PathLike[str], sample_rate: int, *, on_read: Callable[[int], object] = lambda _: None
) -> Waveform:
    """Read a file at ``sample_rate`` Hz: sample for sample ``resample(read(path), sample_rate)``, in less memory.

    Args:
        path: the file.
        sample_rate: Hz.
        on_read: called with the number of samples of each block, at the rate of the file.
    Raises:
        InputError: as ``read``; or too short to give one sample at the new rate.
    """
    file = Path(path)
    _check_rate(sample_rate)
    with opened(file, channels.mixed(file)) as source:
        blocks = list(_resampled(source, sample_rate, on_read))
    if not blocks:
        raise InputError(_too_short(str(file), sample_rate))
    return _gathered(blocks, sample_rate)


def stream(
    path: str | os.PathLike[str],
    sample_rate: int,
    block_seconds: float = 10.0,
    *,
    on_read: Callable[[int], object] = lambda _: None,
) -> Iterator[Tensor]:
    """Read a file piece by piece in flat memory.

    Args:
        path: the file.
        sample_rate: Hz of the pieces.
        block_seconds: seconds of each piece but the last, which may be shorter.
        on_read: see ``read_mono``.
    Returns:
        Pieces (n,) float32; put together they equal ``read_mono(path, sample_rate)`` sample for sample.
    Raises:
        InputError: as ``read_mono``; what is wrong inside the file is only found when that place is reached.
    """
    file = Path(path)
    _check_rate(sample_rate)
    size = round(block_seconds * sample_rate)
    if size < 1:
        raise InputError(f"blocks of {block_seconds} s at {sample_rate} Hz hold no sample; ask for longer ones")
    check_file(file)
    return _streamed(file, sample_rate, size, on_read)


def usual_rate(path: str | os.PathLike[str]) -> int:
    """The sample rate, Hz, that players and editors expect in a file of this extension: 48000 for Opus, else 44100."""
    return USUAL.get(Path(path).suffix.lower(), USUAL_ELSEWHERE)


def held_rate(path: str | os.PathLike[str], sample_rate: int) -> int:
    """The sample rate, Hz, nearest above this one that a file of this extension can hold; the highest if none is."""
    _, coding = WRITABLE.get(Path(path).suffix.lower(), ("", ""))
    return min((rate for rate in RATES.get(coding, ()) if rate >= sample_rate), default=sample_rate)


def check_rate(path: str | os.PathLike[str], sample_rate: int) -> None:
    """Refuse a file that could not be written, before there is anything to write.

    Raises:
        InputError: another extension than ``write`` takes, or a sample rate that the format cannot hold.
    """
    _format(Path(path), sample_rate, None)


@kinds.checked
def write(path: str | os.PathLike[str], waveform: Waveform, *, subtype: str | None = None) -> None:
    """Write a file whose format follows from its extension; it appears complete or not at all.

    Args:
        path: ends in .wav, .flac, .ogg or .opus (Opus), or .mp3; its folder must exist; an existing file is replaced.
        waveform: within [-1, 1] unless the subtype is ``"FLOAT"``. Whole-number samples are rounded to the nearest.
        subtype: ``"PCM_16"`` (default), ``"PCM_24"`` or, for .wav, ``"FLOAT"``; compressed formats take none.
    Raises:
        InputError: another extension, a subtype or sample rate the format cannot hold, samples that would clip, or a
            place that cannot be written to (no such folder, no permission, disk full); nothing is left behind then.
    """
    target = Path(path)
    container, coding = _format(target, waveform.sample_rate, subtype)
    peak = float(waveform.samples.abs().max())
    if peak > 1 and coding != "FLOAT":
        raise InputError(
            f"cannot write {target}: samples reach {peak:.3f} and would clip, [-1, 1] needed; "
            "call set_loudness first, or write .wav with subtype='FLOAT'"
        )
    with _replaced(target) as temporary:
        _encode(temporary, waveform, container, coding)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], sample_rate: int) -> Iterator[Callable[[Waveform], None]]:
    """Write a file block by block, in flat memory; it appears when the block of code ends well, or not at all.

    Args:
        path: see ``write``.
        sample_rate: of every waveform that is written.
    Yields:
        A function that writes the next waveform.
    Raises:
        InputError: as ``write``, or a waveform of another sample rate.
    """
    import soundfile

    target = Path(path)
    container, coding = _format(target, sample_rate, None)
    with _replaced(target) as temporary:
        try:
            with soundfile.SoundFile(native(temporary), "w", sample_rate, 1, coding, format=container) as file:

                def write_next(waveform: Waveform) -> None:
                    if waveform.sample_rate != sample_rate:
                        raise InputError(f"cannot write {target}: {waveform.sample_rate} Hz after {sample_rate} Hz")
                    for start in range(0, len(waveform.samples), BLOCK):
                        file.write(_as_coded(waveform.samples[start : start + BLOCK].detach().cpu(), coding))

                yield write_next
            _flush(temporary)
        except (soundfile.LibsndfileError, AssertionError) as error:
            _flush(temporary, probe=bytes(1 << 20))
            raise OSError(errno.EIO, reason(error)) from error


@kinds.checked
def resample(waveform: Waveform, sample_rate: int) -> Waveform:
    """Change the sample rate (soxr, high quality: flat to 0.913 of the lower Nyquist frequency).

    Returns:
        round(T * new / old) samples; the same object if the rate does not change.
    Raises:
        InputError: not even one sample long at the new rate.
    """
    import soxr
    import torch

    _check_rate(sample_rate)
    if sample_rate == waveform.sample_rate:
        return waveform
    samples = soxr.resample(waveform.samples.detach().cpu().numpy(), waveform.sample_rate, sample_rate)
    if len(samples) == 0:
        raise InputError(_too_short(f"a waveform of {len(waveform.samples)} samples", sample_rate))
    return Waveform(torch.from_numpy(samples), sample_rate)


# ---- reading


def _gathered(blocks: list[Samples], sample_rate: int) -> Waveform:
    import torch

    return Waveform(torch.from_numpy(np.concatenate(blocks)), sample_rate)


def _streamed(file: Path, sample_rate: int, size: int, on_read: Callable[[int], object]) -> Iterator[Tensor]:
    import torch

    waiting: list[Samples] = []
    held, given = 0, 0
    with opened(file, channels.mixed(file)) as source:
        for block in _resampled(source, sample_rate, on_read):
            waiting.append(block)
            held += len(block)
            if held < size:
                continue
            joined = np.concatenate(waiting)
            whole = len(joined) // size * size
            for start in range(0, whole, size):
                yield torch.from_numpy(joined[start : start + size].copy())
            waiting, held, given = [joined[whole:]], len(joined) - whole, given + whole
    if held:
        yield torch.from_numpy(np.concatenate(waiting))
    elif not given:
        raise InputError(_too_short(str(file), sample_rate))


def _resampled(source: Source, sample_rate: int, on_read: Callable[[int], object]) -> Iterator[Samples]:
    """Blocks at another rate; soxr's stream gives bit for bit what soxr gives for the whole."""
    import soxr

    if source.info.sample_rate == sample_rate:
        for block in source.blocks:
            on_read(len(block))
            yield block
        return
    resampler = soxr.ResampleStream(source.info.sample_rate, sample_rate, 1, dtype="float32")
    for block in source.blocks:
        on_read(len(block))
        if len(done := resampler.resample_chunk(block)):
            yield done
    if len(done := resampler.resample_chunk(np.zeros(0, np.float32), last=True)):
        yield done


def _too_short(what: str, sample_rate: int) -> str:
    return f"{what} is too short for one sample at {sample_rate} Hz; a longer recording needed"


def _check_rate(sample_rate: int) -> None:
    if not 1 <= sample_rate <= HIGHEST_RATE:
        raise InputError(f"sample rate is {str(sample_rate)[:20]} Hz; 1 to {HIGHEST_RATE} needed")


# ---- writing


def _format(target: Path, sample_rate: int, subtype: str | None) -> tuple[str, str]:
    import soundfile

    suffix = target.suffix.lower()
    if suffix not in WRITABLE:
        raise InputError(f"cannot write {target}: its name ends in {suffix!r}; one of {', '.join(WRITABLE)} needed")
    container, coding = WRITABLE[suffix]
    if subtype is not None:
        if subtype not in SUBTYPES or not soundfile.check_format(container, subtype):
            fitting = [name for name in SUBTYPES if soundfile.check_format(container, name)]
            raise InputError(
                f"cannot write {target} as {subtype!r}; {' or '.join(map(repr, fitting)) or 'no subtype'} needed"
            )
        coding = subtype
    rates = RATES.get(coding)
    if rates and sample_rate not in rates:
        raise InputError(
            f"cannot write {target}: {suffix} holds no {sample_rate} Hz, only {', '.join(map(str, rates))}; "
            "resample first, or write .wav or .flac"
        )
    return container, coding


def _encode(path: Path, waveform: Waveform, container: str, coding: str) -> None:
    import soundfile

    samples = waveform.samples.detach().cpu()
    try:
        with soundfile.SoundFile(native(path), "w", waveform.sample_rate, 1, coding, format=container) as file:
            for start in range(0, len(samples), BLOCK):
                file.write(_as_coded(samples[start : start + BLOCK], coding))
        # what a compressor held back is written on closing, where libsndfile does not report a full disk
        if soundfile.info(native(path)).frames != len(samples) and coding != "MPEG_LAYER_III":
            raise soundfile.LibsndfileError(2)
        _flush(path)
    except (soundfile.LibsndfileError, AssertionError) as error:
        # libsndfile only says "System error"; writing on from here meets the true one
        _flush(path, probe=bytes(1 << 20))
        raise OSError(errno.EIO, reason(error)) from error


def _as_coded(samples: Tensor, coding: str) -> Any:
    """Numbers libsndfile stores without change: whole-number codings as int32 whose low bits it drops."""
    if coding not in ("PCM_16", "PCM_24"):
        return samples.numpy()
    bits = int(coding[-2:])
    whole = (samples.double() * 2 ** (bits - 1)).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return (whole * 2 ** (32 - bits)).int().numpy()


def _flush(path: Path, probe: bytes = b"") -> None:
    with path.open("ab") as file:
        file.write(probe)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """``checkpoints.replacing`` for a file that links may lead to, with errors that name the target."""
    place = Path(os.path.realpath(target))
    if place.exists() and not place.is_file():
        raise InputError(f"cannot write {target}: it is a folder or a device; the name of a file needed")
    try:
        with checkpoints.replacing(place) as temporary:
            yield temporary
    except OSError as error:
        raise InputError(_unwritable(target, error)) from error


def _unwritable(target: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"cannot write {target}: the folder {target.parent} does not exist; make it first"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"cannot write {target}: the disk is full ({error.strerror}); free some space. Nothing was left behind"
    return f"cannot write {target}: {error.strerror}; choose another place, or make this one writable"
