"""The loss that trains a vocoder: spectra at several resolutions, and discriminators of spectrograms and waveforms.

One sum trains the generator and the discriminators. The generator's terms use the discriminators with detached weights,
and the discriminators' terms use detached sound, so one backward pass gives each part only its own gradients.

Source: Yamamoto et al. 2020 (Parallel WaveGAN: the spectral loss), Jang et al. 2021 (UnivNet: discriminators of
spectrograms), Kong et al. 2020 (HiFi-GAN: discriminators of every p-th sample; speechbrain's networks), Mao et al. 2017
(least squares), Kumar et al. 2019 (feature matching).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from speechssl import errors

SAMPLE_RATE = 16_000
RESOLUTIONS = ((1024, 256, 80), (512, 128, 64), (256, 64, 40))  # window, hop, mel bands
FLOOR = 2e-5  # of amplitude, a full-scale sine has 1/2: quieter is inaudible
WINDOWS = ((1024, 256, 80), (512, 128, 64), (256, 80, 40))  # of the discriminators
LEAK = 0.1


@dataclass(frozen=True)
class Weights:
    """Weights of the losses in the sum."""

    mel: float = 15.0
    linear: float = 4.0
    adversarial: float = 1.0
    matching: float = 2.0


class Spectrum(nn.Module):
    """Amplitudes of the short-time Fourier transform, linear and in mel bands."""

    window: Tensor
    bands: Tensor

    def __init__(self, size: int, hop: int, bands: int) -> None:
        super().__init__()
        from speechssl.audio.mel import filters

        self.size, self.hop = size, hop
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        mel = torch.tensor(filters(bands, size, sample_rate=SAMPLE_RATE, high=SAMPLE_RATE / 2), dtype=torch.float32)
        # each band is a mean, whatever its width
        self.register_buffer("bands", mel / mel.sum(0).clamp(min=1e-3), persistent=False)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) to amplitudes (B, frames, size // 2 + 1) and (B, frames, bands)."""
        spectrum = torch.stft(samples, self.size, self.hop, window=self.window, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        scale = 2 / self.size
        return (power + 1e-7).sqrt() * scale, (power @ self.bands + 1e-7).sqrt() * scale


class EqualisedConv(nn.Module):
    """A convolution that stores its weights five times too large, which makes the optimiser's steps smaller."""

    STORED = 5.0

    def __init__(self, given: int, wanted: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        weight = torch.empty(wanted, given, *kernel)
        nn.init.kaiming_normal_(weight, a=LEAK)
        self.weight = nn.Parameter(weight * self.STORED)
        self.bias = nn.Parameter(torch.zeros(wanted))
        self.stride, self.padding = stride, (kernel[0] // 2, kernel[1] // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, given, frames, bands) to (B, wanted, ...)."""
        return nn.functional.conv2d(x, self.weight / self.STORED, self.bias, self.stride, self.padding)


class SpectrogramDiscriminator(nn.Module):
    """Judges patches of a mel-spectrogram: real or generated.

    Args:
        size: samples of the window.
        hop: samples between windows.
        bands: mel bands.
        width: channels.
    """

    def __init__(self, size: int, hop: int, bands: int, width: int) -> None:
        super().__init__()
        self.spectrum = Spectrum(size, hop, bands)
        sizes = (1, width // 2, width, width, width)
        strides = ((1, 2), (1, 2), (2, 2), (1, 1))
        self.blocks = nn.ModuleList(
            EqualisedConv(given, wanted, (3, 5) if stride == (1, 2) else (3, 3), stride)
            for given, wanted, stride in zip(sizes, sizes[1:], strides, strict=False)
        )
        self.verdict = EqualisedConv(width, 1, (3, 3))
        with torch.no_grad():
            self.verdict.weight.mul_(0.1)

    def forward(self, samples: Tensor) -> list[Tensor]:
        """Hidden layers of samples (B, T), and last the verdict (B, 1, frames, bands): 1 for real."""
        with torch.autocast(samples.device.type, enabled=False):
            mel = self.spectrum(samples.float())[1]
            # the power 0.3 keeps quiet parts visible; scaled and shifted so that speech is centred
            x = (mel.clamp(min=1e-5) ** 0.3)[:, None] * 4 - 1
        found = []
        for block in self.blocks:
            x = nn.functional.leaky_relu(block(x), LEAK)
            found.append(x)
        return [*found, self.verdict(x)]


class PeriodDiscriminator(nn.Module):
    """Judges the waveform folded at a period: real or generated. speechbrain's network, 8.2 M weights.

    Args:
        period: samples.
    """

    def __init__(self, period: int) -> None:
        super().__init__()
        with errors.importing("speechbrain", purpose="HiFi-GAN's discriminators", extra="recipes"):
            from speechbrain.lobes.models.HifiGAN import DiscriminatorP

        self.folded = DiscriminatorP(period)

    def forward(self, samples: Tensor) -> list[Tensor]:
        """Hidden layers of samples (B, T), and last the verdict (B, 1, frames, period): 1 for real."""
        return self.folded(samples[:, None])[1]


class Resynthesis(nn.Module):
    """Losses of a generator of sound.

    Args:
        generator: module called with the batch's ``inputs``; gives (B, T).
        inputs: names of the batch's tensors that the generator takes, in order; ``samples`` (B, T) is the target.
        adversarial_from: first step at which the discriminators' verdict counts; they train from 0.9 of it on.
        width: channels of the discriminators of spectrograms.
        weights: of the losses.
        periods: in samples, of additional discriminators of the waveform, which are large and need a GPU.
    """

    step: Tensor
    slower: ClassVar[dict[str, float]] = {"waves.": 0.2}  # factor on the learning rate, by prefix of the name

    def __init__(
        self,
        generator: nn.Module,
        inputs: Sequence[str],
        *,
        adversarial_from: int,
        width: int = 48,
        weights: Weights | None = None,
        periods: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.generator, self.inputs, self.weights = generator, tuple(inputs), weights or Weights()
        self.adversarial_from = adversarial_from
        self.spectra = nn.ModuleList(Spectrum(*resolution) for resolution in RESOLUTIONS)
        self.discriminators = nn.ModuleList(SpectrogramDiscriminator(*size, width=width) for size in WINDOWS)
        self.waves = nn.ModuleList(PeriodDiscriminator(period) for period in periods)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def after_step(self, step: int) -> None:
        """Count an optimiser step."""
        self.step.fill_(step + 1)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``total``, ``mel`` and ``linear``; later also ``adversarial``, ``matching`` and ``discriminator``."""
        made = self.generator(*(batch[name] for name in self.inputs))
        real = batch["samples"]
        found = self._spectral(made, real)
        total = self.weights.mel * found["mel"] + self.weights.linear * found["linear"]
        step = int(self.step)
        if step >= 0.9 * self.adversarial_from:
            found |= self._judged(made, real)
            total = total + found["discriminator"]
            if step >= self.adversarial_from:
                total = total + self.weights.adversarial * found["adversarial"]
                total = total + self.weights.matching * found["matching"]
        return {"total": total, **found}

    def _spectral(self, made: Tensor, real: Tensor) -> dict[str, Tensor]:
        with torch.autocast(made.device.type, enabled=False):
            gaps = {"linear": made.new_zeros(()), "mel": made.new_zeros(())}
            for spectrum in self.spectra:
                for name, ours, theirs in zip(gaps, spectrum(made), spectrum(real), strict=True):
                    gap = (ours + FLOOR).log() - (theirs + FLOOR).log()
                    gaps[name] = gaps[name] + gap.abs().mean() / len(self.spectra)
            return gaps

    def _judged(self, made: Tensor, real: Tensor) -> dict[str, Tensor]:
        zero = made.new_zeros(())
        found = {"adversarial": zero, "matching": zero, "discriminator": zero}
        for judge in (*self.discriminators, *self.waves):
            truth, made_up = judge(real), judge(made.detach())
            wrong = (truth[-1].float() - 1).square().mean() + made_up[-1].float().square().mean()
            held = {name: parameter.detach() for name, parameter in judge.named_parameters()}
            seen = torch.func.functional_call(judge, held, (made,))
            layers = list(zip(seen[:-1], truth[:-1], strict=True))
            gap = sum(((a.float() - b.detach().float()).abs().mean() for a, b in layers), zero)
            found["discriminator"] = found["discriminator"] + wrong
            found["adversarial"] = found["adversarial"] + (seen[-1].float() - 1).square().mean()
            found["matching"] = found["matching"] + gap / len(layers)
        return found
