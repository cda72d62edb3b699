"""Every sample that enters or leaves: read, stream, write, resample, loudness.

Files are read by libsndfile (WAV, FLAC, Ogg, MP3, AIFF, ...) and, where it cannot, by FFmpeg through PyAV (M4A, AAC,
WMA, video). Several channels become one by their mean. Samples stay float32, which holds 24-bit audio exactly.
Measurements of speech (F0, activity, SNR, clipping) are in ``speechssl.speech`` and can be reached from here.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl.decoding import BLOCK, AudioInfo, Source, check_file, opened, reason
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.speech import clipping_fraction, f0, snr_db, speech_activity, speech_seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from speechssl.decoding import Samples

__all__ = [
    "AudioInfo",
    "clipping_fraction",
    "f0",
    "info",
    "limit_bursts",
    "loudness",
    "read",
    "read_mono",
    "resample",
    "set_loudness",
    "snr_db",
    "speech_activity",
    "speech_seconds",
    "stream",
    "write",
    "writing",
]

LIMITED = 0.005  # share of the samples that may be turned down for the rest to reach its loudness
LIMITER_SECONDS = 0.005  # reach of the gain to each side: too slow to distort a vowel, too fast to be heard as a pause
BURST_SHARE = 0.995  # of the samples are of usual height
BURST_HEIGHT = 2.0  # times the usual height: speech seldom passes it
BURST_SECONDS = 0.005  # reach of the lowered gain to each side
PEAK = 0.97  # leaves 0.26 dB for what lossy codecs and resampling add

SILENCE = -70.0  # LUFS, the absolute gate of BS.1770
WEIGHTING = -0.691  # dB, the constant of BS.1770 that makes up for the K-weighting of a 1 kHz tone

# container and subtype libsndfile is asked for; WAV and FLAC of whole numbers come out the same byte for byte
WRITABLE = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "OPUS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
SUBTYPES = ("PCM_16", "PCM_24", "FLOAT")


def info(path: str | os.PathLike[str]) -> AudioInfo:
    """Rate, channels, duration and coding of a file, without decoding it.

    Raises:
        InputError: missing, a folder, empty, or not audio.
    """
    with opened(Path(path)) as source:
        return source.info


def read(path: str | os.PathLike[str]) -> Waveform:
    """Read a file at its own sample rate, as the mean of its channels. Silence is valid; callers decide about it.

    Raises:
        InputError: missing, a folder, not audio, damaged, cut short, without samples, or with NaN or infinite samples.
    """
    with opened(Path(path)) as source:
        return _gathered(list(source.blocks), source.info.sample_rate)


def read_channel(path: str | os.PathLike[str], channel: int) -> Waveform:
    """As ``read``, but one channel alone, counted from 0.

    Raises:
        InputError: as ``read``; no such channel.
    """
    count = info(path).channels
    if not 0 <= channel < count:
        raise InputError(f"{path} has {count} channel(s); number {channel}, counted from 0, is not among them")
    with opened(Path(path), channel) as source:
        return _gathered(list(source.blocks), source.info.sample_rate)


def read_mono(path: str | os.PathLike[str], sample_rate: int) -> Waveform:
    """Read a file at ``sample_rate`` Hz: sample for sample ``resample(read(path), sample_rate)``, in less memory.

    Raises:
        InputError: as ``read``; or too short to give one sample at the new rate.
    """
    file = Path(path)
    _check_rate(sample_rate)
    with opened(file) as source:
        blocks = list(_resampled(source, sample_rate))
    if not blocks:
        raise InputError(_too_short(str(file), sample_rate))
    return _gathered(blocks, sample_rate)


def stream(path: str | os.PathLike[str], sample_rate: int, block_seconds: float = 10.0) -> Iterator[Tensor]:
    """Read a file piece by piece in flat memory.

    Args:
        path: the file.
        sample_rate: Hz of the pieces.
        block_seconds: seconds of each piece but the last, which may be shorter.
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
    return _streamed(file, sample_rate, size)


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
            with soundfile.SoundFile(temporary, "w", sample_rate, 1, coding, format=container) as file:

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


def loudness(waveform: Waveform) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4: K-weighting, 0.4-second blocks, both gates).

    Less than 0.4 s counts as one block. -inf for silence (below -70 LUFS). Memory is flat.
    """
    return _gated(_block_powers(waveform))


def set_loudness(waveform: Waveform, lufs: float, *, peak: float = PEAK) -> Waveform:
    """Scale to a loudness, but never beyond a peak, so that nothing clips.

    Args:
        waveform: any level; what counts as silence (below -70 LUFS) comes back as it is.
        lufs: wanted integrated loudness, above -70; speech is usually set to between -26 and -16.
        peak: highest absolute sample afterwards, in (0, 1]; where it is the tighter limit the result is quieter.
    Raises:
        InputError: another loudness or peak.
    """
    if not (math.isfinite(lufs) and lufs > SILENCE):
        raise InputError(f"loudness is {lufs} LUFS; a number above {SILENCE:.0f} such as -23 needed")
    if not 0 < peak <= 1:
        raise InputError(f"peak is {peak}; a number above 0 and up to 1 needed")
    powers, top = _block_powers(waveform), float(waveform.samples.abs().max())
    if _gated(powers) == -math.inf:
        return waveform
    decibels = 0.0
    # the absolute gate lets more or fewer quiet pieces through at another level, so that one step may miss
    for _ in range(8):
        now = _gated(powers * 10 ** (decibels / 10))
        decibels += lufs - now if now > -math.inf else 1.0
    gain = min(10 ** (decibels / 20), peak / top)
    return Waveform((waveform.samples * gain).clamp_(-peak, peak), waveform.sample_rate)


def limit_bursts(waveform: Waveform, *, block: int = 1 << 20) -> Waveform:
    """Turn down what is more than twice as high as 99.5 % of the samples, so that a burst does not make the rest quiet.

    The lowest gain needed within 5 ms, averaged over 5 ms to each side, is never above the gain needed at its middle:
    nothing stays above the limit, and the gain changes smoothly. Ordinary speech passes unchanged.

    Args:
        waveform: any level.
        block: samples worked on at once; the result does not depend on it.
    """
    import torch
    from torch.nn import functional

    samples, reach = waveform.samples, max(1, round(BURST_SECONDS * waveform.sample_rate))
    heights, place = samples.abs().numpy(), math.ceil(len(samples) * BURST_SHARE) - 1
    heights.partition(place)  # in place: kthvalue would take three times the memory, of an hour 700 MB
    usual = float(heights[place])
    del heights
    limit, result = BURST_HEIGHT * usual, samples
    if usual == 0:
        return waveform
    for start in range(0, len(samples), block):
        begin, end = max(0, start - 2 * reach), min(len(samples), start + block + 2 * reach)
        near = samples[begin:end].abs()
        if float(near.max()) <= limit:
            continue
        needed = (limit / near.clamp(min=limit))[None, None]
        lowest = -functional.max_pool1d(-needed, 2 * reach + 1, stride=1, padding=reach)
        padded = functional.pad(lowest, (reach, reach), mode="replicate")
        smooth = functional.avg_pool1d(padded, 2 * reach + 1, stride=1)[0, 0]
        held = torch.clamp(samples[begin:end] * smooth, -limit, limit)
        # most sound has no burst and needs no copy, of an hour 230 MB
        result = samples.clone() if result is samples else result
        result[start : start + block] = held[start - begin : start - begin + block]
    return Waveform(result, waveform.sample_rate)


# ---- reading


def _gathered(blocks: list[Samples], sample_rate: int) -> Waveform:
    import numpy as np
    import torch

    return Waveform(torch.from_numpy(np.concatenate(blocks)), sample_rate)


def _streamed(file: Path, sample_rate: int, size: int) -> Iterator[Tensor]:
    import numpy as np
    import torch

    waiting: list[Samples] = []
    held, given = 0, 0
    with opened(file) as source:
        for block in _resampled(source, sample_rate):
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


def _resampled(source: Source, sample_rate: int) -> Iterator[Samples]:
    """Blocks at another rate; soxr's stream gives bit for bit what soxr gives for the whole."""
    import numpy as np
    import soxr

    if source.info.sample_rate == sample_rate:
        yield from source.blocks
        return
    resampler = soxr.ResampleStream(source.info.sample_rate, sample_rate, 1, dtype="float32")
    for block in source.blocks:
        if len(done := resampler.resample_chunk(block)):
            yield done
    if len(done := resampler.resample_chunk(np.zeros(0, np.float32), last=True)):
        yield done


def _too_short(what: str, sample_rate: int) -> str:
    return f"{what} is too short for one sample at {sample_rate} Hz; a longer recording needed"


def _check_rate(sample_rate: int) -> None:
    if sample_rate < 1:
        raise InputError(f"sample rate is {sample_rate} Hz; a positive one needed")


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
    rates = {
        "OPUS": (8000, 12_000, 16_000, 24_000, 48_000),
        "MPEG_LAYER_III": (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    }.get(coding)
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
        with soundfile.SoundFile(path, "w", waveform.sample_rate, 1, coding, format=container) as file:
            for start in range(0, len(samples), BLOCK):
                file.write(_as_coded(samples[start : start + BLOCK], coding))
        # what a compressor held back is written on closing, where libsndfile does not report a full disk
        if soundfile.info(path).frames != len(samples) and coding != "MPEG_LAYER_III":
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
    """A temporary path in the target's folder: becomes the target on success, vanishes otherwise, Ctrl-C included."""
    place = Path(os.path.realpath(target))
    if place.exists() and not place.is_file():
        raise InputError(f"cannot write {target}: it is a folder or a device; the name of a file needed")
    temporary = place.with_name(f".speechssl-{secrets.token_hex(4)}.part")
    try:
        yield temporary
        os.replace(temporary, place)
    except OSError as error:
        raise InputError(_unwritable(target, error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _unwritable(target: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"cannot write {target}: the folder {target.parent} does not exist; make it first"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"cannot write {target}: the disk is full ({error.strerror}); free some space. Nothing was left behind"
    return f"cannot write {target}: {error.strerror}; choose another place, or make this one writable"


# ---- loudness


def _block_powers(waveform: Waveform) -> NDArray[np.float64]:
    """K-weighted mean square of blocks of 0.4 s that overlap by three quarters."""
    import numpy as np

    sound = waveform if waveform.sample_rate >= 4000 else resample(waveform, 16_000)  # the filters need the band
    rate, total = sound.sample_rate, len(sound.samples)
    length = min(0.4, total / rate)
    count = round((total / rate - length) / (length * 0.25)) + 1
    first = (length * 0.25 * np.arange(count) * rate).astype(np.int64)
    last = np.minimum((length * (0.25 * np.arange(count) + 1) * rate).astype(np.int64), total)
    edges, places = np.unique(np.concatenate([first, last]), return_inverse=True)
    energy = _energy_before(sound, edges)[places]
    powers: NDArray[np.float64] = (energy[count:] - energy[:count]) / (length * rate)
    return powers


def _gated(powers: NDArray[np.float64]) -> float:
    kept = powers[powers > 10 ** ((SILENCE - WEIGHTING) / 10)]
    if len(kept) == 0:
        return -math.inf
    relative = kept.mean() / 10  # 10 LU below what passed the absolute gate
    return WEIGHTING + 10 * math.log10(float(kept[kept > relative].mean()))


def _energy_before(waveform: Waveform, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Energy of the K-weighted samples before each of the ascending positions, block by block in float64."""
    import numpy as np
    from pyloudnorm import IIRfilter
    from scipy.signal import lfilter

    rate = waveform.sample_rate
    # the two filters of BS.1770, for any rate: De Man 2018, "Evaluation of implementations of the EBU R128 loudness"
    filters = [IIRfilter(4.0, 0.5**0.5, 1500.0, rate, "high_shelf"), IIRfilter(0.0, 0.5, 38.0, rate, "high_pass")]
    states = [np.zeros(2) for _ in filters]
    energy, total = np.zeros(len(positions)), 0.0
    samples = waveform.samples.detach().cpu().numpy()
    for start in range(0, len(samples), BLOCK):
        block = samples[start : start + BLOCK].astype(np.float64)
        for index, one in enumerate(filters):
            block, states[index] = lfilter(one.b, one.a, block, zi=states[index])
        sums = total + np.cumsum(block**2)
        inside = (positions > start) & (positions <= start + len(sums))
        energy[inside] = sums[positions[inside] - start - 1]
        total = float(sums[-1])
    return energy
