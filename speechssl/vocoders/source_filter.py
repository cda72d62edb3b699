"""The packaged vocoder: what WORLD would say, corrected, through filters that a network predicts.

Sound is pulses at the pitch and noise, each through a filter that changes 100 times a second (a source-filter vocoder
in the short-time Fourier domain). The filters begin as WORLD's own envelope and aperiodicity of the retrieved frames,
as minimum phase; a ConvNeXt stack that sees the retrieved values, the keys of what is said and the pitch predicts what
has to be added to their logarithm and phase. So an untrained network is WORLD, and training starts from there.

Time: value frame i of 20 ms is centred on sample 320 i + 200; the filters of frames 2 i and 2 i + 1 lie at samples
320 i + 120 and 320 i + 280, which are the means of the WORLD frames that frame i stacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from speechssl import checkpoints
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Features, Waveform, check_same_origin
from speechssl.vocoders import pulses, world

FAMILY = "source-filter"  # in the header of a file
CHUNK = 500  # value frames at once: 10 s
NOISE_BLOCK = 65_536  # samples of noise from one seed
FRAMES = 2  # filters a value frame
HOP = world.HOP_LENGTH // FRAMES
FIRST = 120  # sample the first filter lies at
LIMIT = 6.0  # natural log of amplitude a filter may be corrected by, 52 dB
TAPS = 16  # of a pulse between two samples


@dataclass(frozen=True)
class SourceFilterConfig:
    """Sizes.

    Args:
        key_dim: numbers of a key.
        order: of the WORLD envelope.
        width: channels of the stack.
        hidden: inner width of a block.
        num_layers: blocks.
        kernel: frames (of 10 ms) a block sees.
        key_width: numbers that are kept of a key.
        window: samples of the short-time Fourier transform.
    """

    key_dim: int = 256
    order: int = world.ORDER
    width: int = 256
    hidden: int = 768
    num_layers: int = 8
    kernel: int = 7
    key_width: int = 96
    window: int = 640

    @property
    def context(self) -> int:
        """Value frames on either side that can be heard in one."""
        reach = self.num_layers * (self.kernel // 2) + -(-self.window // HOP)
        return -(-reach // FRAMES) + 1

    @property
    def bins(self) -> int:
        """Frequencies of a filter."""
        return self.window // 2 + 1


class Block(nn.Module):
    """ConvNeXt in one dimension (Liu et al. 2022): a depthwise convolution, then two layers a frame."""

    def __init__(self, config: SourceFilterConfig) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(
            config.width, config.width, config.kernel, padding=config.kernel // 2, groups=config.width
        )
        self.norm = nn.LayerNorm(config.width)
        self.widen = nn.Linear(config.width, config.hidden)
        self.narrow = nn.Linear(config.hidden, config.width)
        self.scale = nn.Parameter(torch.full((config.width,), 0.2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) to the same."""
        inner: Tensor = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        inner = self.narrow(nn.functional.gelu(self.widen(self.norm(inner))))
        return x + self.scale * inner


class SourceFilter(nn.Module):
    """Values, keys and F0 to the filters of pulses and noise, and with these two to sound."""

    mean: Tensor
    deviation: Tensor
    envelope: Tensor
    noise_db: Tensor
    minimum_phase: Tensor
    window: Tensor

    def __init__(self, config: SourceFilterConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.order + 1))
        self.register_buffer("deviation", torch.ones(config.order + 1))
        for name, table in _tables(config).items():
            self.register_buffer(name, table, persistent=False)
        self.keys = nn.Linear(config.key_dim, config.key_width)
        self.entry = nn.Linear(FRAMES * (config.order + 1 + 2) + config.key_width, config.width)
        self.voice = nn.Linear(2 * (config.order + 1), config.width)
        nn.init.zeros_(self.voice.weight)
        nn.init.zeros_(self.voice.bias)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.width)
        self.exit = nn.Linear(config.width, 3 * config.bins)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)

    def forward(self, values: Tensor, keys: Tensor, f0: Tensor, voice: Tensor, pulse: Tensor, noise: Tensor) -> Tensor:
        """Sound (B, T), T = 320 (N - 1) + 400.

        Args:
            values: (B, N, 4 (order + 1)) of WORLD.
            keys: (B, N, key_dim).
            f0: (B, 4 N) Hz at the WORLD frames, 0 where unvoiced.
            voice: (B, 2 (order + 1)) ``voice_statistics`` of all values of the recording, not only of these.
            pulse: (B, T) pulses of unit power where voiced, else 0.
            noise: (B, T) white noise of unit power.
        """
        correction = self.corrections(values, keys, f0, voice)
        with torch.autocast(values.device.type, enabled=False):
            envelope = self.world_gains(values.float(), f0)
            return self.synthesise(self.filtered(correction, envelope, self.analyse(pulse), self.analyse(noise)))

    def filtered(self, correction: Tensor, envelope: Tensor, pulse: Tensor, noise: Tensor) -> Tensor:
        """Spectra (B, F, bins) of the sound.

        Args:
            correction: (B, F, 3 bins) as ``corrections``.
            envelope: (B, F, 2, bins) as ``world_gains``.
            pulse, noise: (B, F, bins) as ``analyse``.
        """
        bins = self.config.bins
        added = correction[..., : 2 * bins].float().view(*correction.shape[:2], 2, bins)
        harmonic, noisy = (envelope + LIMIT * torch.tanh(added / LIMIT)).unbind(-2)
        phase = harmonic @ self.minimum_phase + correction[..., 2 * bins :].float()
        return torch.polar(harmonic.exp(), phase) * pulse + noisy.exp() * noise

    def corrections(self, values: Tensor, keys: Tensor, f0: Tensor, voice: Tensor) -> Tensor:
        """(B, 2 N, 3 bins): what is added to the log amplitude of pulses' and noise's filters, and to the phase."""
        x = self.entered(values, keys, f0, voice)
        for layer in self.layers:
            x = layer(x)
        return self.exit(self.norm(x))

    def entered(self, values: Tensor, keys: Tensor, f0: Tensor, voice: Tensor) -> Tensor:
        """(B, 2 N, width): the input of the first block."""
        batch, count = values.shape[:2]
        voiced = (f0 > 0).float()
        pitch = torch.where(f0 > 0, f0.clamp(min=1).log() - 5.0, torch.zeros_like(f0))
        normal = (values.reshape(batch, count, world.STACK, -1) - self.mean) / self.deviation
        parts = [normal, pitch.view(batch, count, world.STACK, 1), voiced.view(batch, count, world.STACK, 1)]
        frames = torch.cat(parts, dim=-1).reshape(batch, FRAMES * count, -1)
        words = self.keys(keys).repeat_interleave(FRAMES, dim=1)
        who = self.voice(self.normal_voice(voice))
        return self.entry(torch.cat([frames, words], dim=-1)) + who[:, None]

    def normal_voice(self, voice: Tensor) -> Tensor:
        """(B, 2 (order + 1)) ``voice_statistics``, in deviations from the mean of all voices."""
        mean, deviation = voice.view(len(voice), 2, -1).unbind(1)
        return torch.cat([(mean - self.mean) / self.deviation, deviation / self.deviation - 1], dim=-1)

    def world_gains(self, values: Tensor, f0: Tensor) -> Tensor:
        """(B, 2 N, 2, bins) log amplitude of the filters of pulses and noise that WORLD would take."""
        batch, count = values.shape[:2]
        frames = values.reshape(batch, FRAMES * count, world.STACK // FRAMES, -1).mean(-2)
        voiced = (f0 > 0).view(batch, FRAMES * count, -1).any(-1, keepdim=True)
        envelope = frames[..., :-1] @ self.envelope / 2
        decibels = self.noise_db[0] + frames[..., -1:].clamp(max=0) * self.noise_db[1]
        noise = torch.where(voiced, decibels * (np.log(10) / 20), torch.zeros_like(decibels)).clamp(max=-1e-3)
        pulse = 0.5 * torch.log(-torch.expm1(2 * noise))
        return torch.stack([envelope + pulse, envelope + torch.where(voiced, noise, torch.zeros_like(noise))], dim=-2)

    def analyse(self, samples: Tensor) -> Tensor:
        """(B, 2 N, bins) spectra around the filters' places."""
        side = self.config.window // 2 - FIRST
        padded = nn.functional.pad(samples, (side, side))
        return torch.fft.rfft(padded.unfold(-1, self.config.window, HOP) * self.window, dim=-1)

    def synthesise(self, spectrum: Tensor) -> Tensor:
        """The sound of spectra, overlapped and added."""
        size, count = self.config.window, spectrum.shape[1]
        pieces = torch.fft.irfft(spectrum, size, dim=-1) * self.window
        total = HOP * (count - 1) + size
        fold = {"output_size": (1, total), "kernel_size": (1, size), "stride": (1, HOP)}
        sound = nn.functional.fold(pieces.transpose(1, 2), **fold)[:, 0, 0]
        weights = (self.window**2)[None, :, None].expand(1, size, count)
        weight = nn.functional.fold(weights, **fold)[:, 0, 0]
        side = size // 2 - FIRST
        return (sound / weight.clamp(min=1e-2))[:, side : total - side]


def voice_statistics(values: Tensor, order: int) -> Tensor:
    """(2 (order + 1),): mean and deviation, over time, of the WORLD frames stacked in values (N, 4 (order + 1))."""
    frames = values.float().reshape(-1, order + 1)
    return torch.cat([frames.mean(0), frames.std(0, unbiased=False)])


def _tables(config: SourceFilterConfig) -> dict[str, Tensor]:
    """Constants: cepstrum to log power, aperiodicity to dB, log amplitude to minimum phase, and the window."""
    places = np.linspace(0, pulses.FFT_SIZE // 2, config.bins)

    def at_bins(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.stack([np.interp(places, np.arange(rows.shape[1]), row) for row in rows])

    folded = np.zeros(config.window)
    folded[1 : config.window // 2] = 1.0
    folded[config.window // 2 + 1 :] = -1.0
    cepstra = np.fft.irfft(np.eye(config.bins), config.window, axis=1)
    tables = {
        "envelope": at_bins(pulses.envelope_matrix(config.order, world.SAMPLE_RATE)),
        "noise_db": at_bins(pulses.band_matrix(world.BANDS, world.SAMPLE_RATE)),
        "minimum_phase": np.fft.rfft(cepstra * folded, axis=1).imag,
        "window": np.hanning(config.window + 1)[:-1],
    }
    return {name: torch.from_numpy(np.ascontiguousarray(table, dtype=np.float32)) for name, table in tables.items()}


def pulse_train(f0: np.ndarray[Any, Any], num_samples: int) -> np.ndarray[Any, Any]:
    """(num_samples,) float32 pulses of unit power where F0 is above 0, band-limited, at exact moments.

    Args:
        f0: (M,) Hz every 5 ms, from sample ``world.STEP`` on.
        num_samples: length.
    """
    output = np.zeros(num_samples + 2 * TAPS, dtype=np.float32)
    taps = np.arange(TAPS) - TAPS // 2 + 1
    for found, lengths in pulses.pulse_blocks(f0, num_samples, world.SAMPLE_RATE, world.STEP, pulses.BLOCK):
        voiced = found.voiced
        if not voiced.any():
            continue
        height = np.sqrt(np.minimum(lengths[voiced, None], world.SAMPLE_RATE / 40))
        shape = height * pulse_shapes(found.delay[voiced])
        np.add.at(output, found.sample[voiced, None] + taps + TAPS, shape.astype(np.float32))
    return output[TAPS : TAPS + num_samples]


def pulse_shapes(delay: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(P, TAPS) band-limited pulses that lie ``delay`` (P,) samples behind tap ``TAPS // 2 - 1``."""
    distance = np.arange(TAPS) - TAPS // 2 + 1 - delay[:, None]
    return np.sinc(distance) * np.cos(np.pi * distance / (TAPS + 2)) ** 2


class SourceFilterVocoder:
    """A trained ``SourceFilter`` as a ``Vocoder``.

    Args:
        network: with its weights.
        key_origin: of the keys it was trained with, e.g. ``"tiny/4"``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """

    sample_rate = world.SAMPLE_RATE
    frame_rate = world.SAMPLE_RATE / world.HOP_LENGTH
    needs_f0 = True

    def __init__(self, network: SourceFilter, *, key_origin: str, device: str = "auto") -> None:
        self.device = checkpoints.choose_device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)
        self.origin, self.key_origin = world.origin(network.config.order), key_origin

    def num_samples(self, num_frames: int) -> int:
        """Samples that so many frames cover."""
        return world.HOP_LENGTH * (num_frames - 1) + world.WINDOW_LENGTH

    def vocode(
        self,
        features: Features,
        *,
        f0: Tensor | None = None,
        keys: Features | None = None,
        voice: Tensor | None = None,
    ) -> Waveform:
        """The sound of N frames: 320 (N - 1) + 400 samples, in time with the source of ``f0``; the same every time.

        Args:
            features: WORLD values (N, dim), as retrieved.
            f0: (F,) Hz every 5 ms from sample 0 on, 0 where unvoiced; decides what is voiced.
            keys: (N, Dk) of what is said, from the encoder it was trained with.
            voice: (M, dim) values of whoever speaks, whose statistics are heard; None for those of the features.
        Raises:
            InputError: values or keys of another origin or length, or one of the three missing.
        """
        check_same_origin(features.origin, self.origin, what="vocode these features")
        if f0 is None or keys is None:
            raise InputError("this vocoder needs F0 and the keys of what is said beside the features; pass f0 and keys")
        check_same_origin(keys.origin, self.key_origin, what="vocode with these keys")
        if len(keys) != len(features):
            raise InputError(f"{len(keys)} keys for {len(features)} features; one for each needed")
        contour = world.fitted(f0.double().cpu().numpy(), len(features))
        speaker = features.frames if voice is None else voice
        if speaker.shape[1] != features.dim:
            raise InputError(f"the voice has {speaker.shape[1]} numbers a frame, the features {features.dim}")
        statistics = voice_statistics(speaker, self.network.config.order)
        samples = torch.cat(list(self._stream(features.frames, keys.frames, contour, statistics)))
        return Waveform(samples, self.sample_rate)

    @torch.no_grad()
    def _stream(
        self, values: Tensor, keys: Tensor, f0: np.ndarray[Any, Any], voice: Tensor, *, chunk: int = CHUNK
    ) -> Iterator[Tensor]:
        """Consecutive pieces of the sound; each is made with as many frames around it as can be heard in it."""
        count, hop = len(values), world.HOP_LENGTH
        pulse = pulse_train(f0, self.num_samples(count))
        context = self.network.config.context
        for start in range(0, count, chunk):
            stop = min(start + chunk, count)
            first, last = max(0, start - context), min(stop + context, count)
            begin, end = hop * first, hop * first + self.num_samples(last - first)
            inputs = (
                values[first:last],
                keys[first:last],
                torch.from_numpy(f0[world.STACK * first : world.STACK * last]),
                voice,
                torch.from_numpy(pulse[begin:end]),
                torch.from_numpy(noise(begin, end)),
            )
            sound = self.network(*(part.to(self.device, torch.float32)[None] for part in inputs))[0]
            # the last frame keeps what its window has beyond the hop
            until = len(sound) if stop == count else hop * (stop - first)
            yield sound[hop * (start - first) : until].cpu()


def noise(start: int, stop: int) -> np.ndarray[Any, Any]:
    """Samples ``start`` to ``stop`` of an endless white noise of unit power, always the same."""
    blocks = range(start // NOISE_BLOCK, (stop - 1) // NOISE_BLOCK + 1)
    whole = np.concatenate([_noise_block(block) for block in blocks])
    first = blocks[0] * NOISE_BLOCK
    return whole[start - first : stop - first]


@lru_cache(maxsize=2)
def _noise_block(number: int) -> np.ndarray[Any, Any]:
    """The samples of one seed; a stream asks for them a few at a time."""
    return np.random.default_rng([0, number]).standard_normal(NOISE_BLOCK, dtype=np.float32)


def save(path: str | Path, vocoder: SourceFilterVocoder, *, licence: str, provenance: Mapping[str, Any]) -> Path:
    """Write a vocoder as one file, weights in float16.

    Args:
        path: the file.
        vocoder: what to write.
        licence: of the weights.
        provenance: JSON-able facts: data, recipe, steps.
    """
    header = {
        "kind": "vocoder",
        "family": FAMILY,
        "origin": vocoder.origin,
        "key_origin": vocoder.key_origin,
        "config": asdict(vocoder.network.config),
        "licence": licence,
        "provenance": dict(provenance),
    }
    state = {name: tensor.half() for name, tensor in vocoder.network.state_dict().items()}
    return checkpoints.save(path, state, header)


def load(path: str | Path, *, device: str = "auto") -> SourceFilterVocoder:
    """Read a file that ``save`` wrote.

    Raises:
        CheckpointError: another kind or family, or weights that do not fit the config.
    """
    checkpoint = checkpoints.load(path, kind="vocoder")
    header = checkpoint.header
    if header.get("family") != FAMILY or not isinstance(header.get("key_origin"), str):
        raise CheckpointError(f"{path} is a vocoder of family {header.get('family')!r}; {FAMILY!r} with keys needed")
    try:
        network = SourceFilter(SourceFilterConfig(**header["config"]))
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its config does not describe a vocoder of this family ({error})") from error
    tensors = {name: tensor.float() for name, tensor in checkpoint.tensors.items()}
    checkpoints.load_state(network, tensors, source=path)
    return SourceFilterVocoder(network, key_origin=header["key_origin"], device=device)
