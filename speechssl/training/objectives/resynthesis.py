"""Resynthesis: what a vocoder is trained on. Spectra at several resolutions, discriminators of spectrograms and waves.

The generator and the discriminators are trained by one sum: the generator's part sees the discriminators with their
weights held, the discriminators' part sees sound cut off from the generator, so that one backward pass gives each its
own gradients.

Source: Yamamoto et al. 2020 (Parallel WaveGAN: the spectral loss), Jang et al. 2021 (UnivNet: discriminators of
spectrograms), Kong et al. 2020 (HiFi-GAN: discriminators of every p-th sample; speechbrain's networks), Mao et al. 2017
(least squares), Kumar et al. 2019 (feature matching), Miyato and Koyama 2018 (a verdict that depends on whose voice it
should be), Reed et al. 2016 (real, but of somebody else, counts as wrong).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from speechssl import libraries
from speechssl.training.objectives.impersonation import Impersonation

SAMPLE_RATE = 16_000
RESOLUTIONS = ((1024, 256, 80), (512, 128, 64), (256, 64, 40))  # window, hop, mel bands
FLOOR = 2e-5  # of amplitude, full scale sine 1/2: below lies what nobody hears
WINDOWS = ((1024, 256, 80), (512, 128, 64), (256, 80, 40))  # of the discriminators
LEAK = 0.1
CONVERTED = "converted_"  # before the names of inputs that are conversions


@dataclass(frozen=True)
class Weights:
    """Shares of the losses in the sum."""

    mel: float = 15.0
    linear: float = 4.0
    adversarial: float = 1.0
    matching: float = 2.0
    stranger: float = 0.5
    voice: float = 4.0
    words: float = 6.0


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
    """A convolution whose weights are stored larger than they are: the optimiser's steps are that much smaller."""

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
    """Real or made, judged patch by patch on a mel-spectrogram, and if it is told who speaks, whether that is heard.

    Args:
        size: samples of the window.
        hop: samples between windows.
        bands: of the mel scale.
        width: channels.
        who_dim: numbers that tell who speaks; 0 for none.
    """

    def __init__(self, size: int, hop: int, bands: int, width: int, who_dim: int = 0) -> None:
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
        self.who = None
        if who_dim:
            last = nn.Linear(width, width)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.who = nn.Sequential(nn.Linear(who_dim, width), nn.LeakyReLU(LEAK), last)

    def judged(self, hidden: Tensor, who: Tensor | None = None) -> Tensor:
        """The verdict (B, 1, frames, bands) on the last hidden layer (B, width, ...) if ``who`` (B, who_dim) speaks."""
        verdict: Tensor = self.verdict(hidden)
        if self.who is not None and who is not None:
            fitting = torch.einsum("bwfm,bw->bfm", hidden, self.who(who).to(hidden.dtype))
            verdict = verdict + fitting[:, None] / hidden.shape[1] ** 0.5
        return verdict

    def forward(self, samples: Tensor, who: Tensor | None = None) -> list[Tensor]:
        """Hidden layers, and last the verdict (B, 1, frames, bands): 1 for real."""
        with torch.autocast(samples.device.type, enabled=False):
            mel = self.spectrum(samples.float())[1]
            # a third root keeps quiet parts in sight; centred on speech
            x = (mel.clamp(min=1e-5) ** 0.3)[:, None] * 4 - 1
        found = []
        for block in self.blocks:
            x = nn.functional.leaky_relu(block(x), LEAK)
            found.append(x)
        return [*found, self.judged(x, who)]


class PeriodDiscriminator(nn.Module):
    """Real or made, judged on the waveform folded at a period: speechbrain's network, 8.2 M weights.

    Args:
        period: samples.
    """

    def __init__(self, period: int) -> None:
        super().__init__()
        with libraries.needed("speechbrain", purpose="HiFi-GAN's discriminators", extra="recipes"):
            from speechbrain.lobes.models.HifiGAN import DiscriminatorP

        self.folded = DiscriminatorP(period)

    def forward(self, samples: Tensor, who: Tensor | None = None) -> list[Tensor]:
        """Hidden layers, and last the verdict (B, 1, frames, period): 1 for real. ``who`` is not asked."""
        found: list[Tensor] = self.folded(samples[:, None])[1]
        return found


class Resynthesis(nn.Module):
    """Losses of a generator that makes sound.

    Args:
        generator: module called with the batch's ``inputs``; gives (B, T).
        inputs: names of the tensors of a batch that the generator takes, in order; ``samples`` is the truth (B, T).
        adversarial_from: step at which the discriminators' verdict begins to count; they train from a tenth before.
        width: channels of the discriminators.
        weights: of the losses.
        impersonation: what judges conversions between speakers, where a batch has them: the ``inputs`` under names that
            begin with ``CONVERTED``, ``source`` (B, T) and ``target`` (B, E). Discriminators see these as made up, too.
        tell: from the ``inputs`` by name to who speaks (B, who_dim), for the discriminators, who then take real speech
            with somebody else's for wrong, too; None, and they do not ask.
        who_dim: numbers that ``tell`` gives.
        periods: samples at which further discriminators fold the waveform; for a GPU, for they are large.
    """

    step: Tensor
    slower: ClassVar[dict[str, float]] = {"waves.": 0.2}  # shares of the rate, by how a name begins

    def __init__(
        self,
        generator: nn.Module,
        inputs: Sequence[str],
        *,
        adversarial_from: int,
        width: int = 48,
        weights: Weights | None = None,
        impersonation: Impersonation | None = None,
        tell: Callable[[Mapping[str, Tensor]], Tensor] | None = None,
        who_dim: int = 0,
        periods: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.impersonation, self._tell = impersonation, tell
        self.generator, self.inputs, self.weights = generator, tuple(inputs), weights or Weights()
        self.adversarial_from = adversarial_from
        self.spectra = nn.ModuleList(Spectrum(*resolution) for resolution in RESOLUTIONS)
        self.discriminators = nn.ModuleList(
            SpectrogramDiscriminator(*size, width=width, who_dim=who_dim if tell else 0) for size in WINDOWS
        )
        self.waves = nn.ModuleList(PeriodDiscriminator(period) for period in periods)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def after_step(self, step: int) -> None:
        """Called after each optimiser step."""
        self.step.fill_(step + 1)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``total``, ``mel``, ``linear``; later ``adversarial``, ``matching`` and ``discriminator`` too."""
        made = self.generator(*(batch[name] for name in self.inputs))
        real = batch["samples"]
        found = self._spectral(made, real)
        total = self.weights.mel * found["mel"] + self.weights.linear * found["linear"]
        step = int(self.step)
        if step >= 0.9 * self.adversarial_from:
            found |= self._judged(made, real, self._who(batch))
            total = total + found["discriminator"]
            if step >= self.adversarial_from:
                total = total + self.weights.adversarial * found["adversarial"]
                total = total + self.weights.matching * found["matching"]
        if self.impersonation is not None:
            judged = self._converted(batch, self.impersonation)
            found |= judged
            weights = self.weights
            total = total + weights.voice * judged["voice"] + weights.words * judged["words"]
            total = total + weights.adversarial * judged["unpaired"] + judged["caught"]
        return {"total": total, **found}

    def _converted(self, batch: dict[str, Tensor], impersonation: Impersonation) -> dict[str, Tensor]:
        """Losses of conversions: ``voice``, ``words``, and against the discriminators ``unpaired`` and ``caught``."""
        made = self.generator(*(batch[CONVERTED + name] for name in self.inputs))
        who = self._who(batch, CONVERTED)
        found = impersonation.losses(made, batch["source"], batch["target"])
        zero = made.new_zeros(())
        found |= {"unpaired": zero, "caught": zero}
        for judge in (*self.discriminators, *self.waves):
            held = {name: parameter.detach() for name, parameter in judge.named_parameters()}
            seen = torch.func.functional_call(judge, held, (made, who))[-1].float()
            found["unpaired"] = found["unpaired"] + (seen - 1).square().mean()
            found["caught"] = found["caught"] + judge(made.detach(), who)[-1].float().square().mean()
        return found

    def _who(self, batch: dict[str, Tensor], prefix: str = "") -> Tensor | None:
        return self._tell({name: batch[prefix + name] for name in self.inputs}) if self._tell else None

    def _spectral(self, made: Tensor, real: Tensor) -> dict[str, Tensor]:
        with torch.autocast(made.device.type, enabled=False):
            gaps = {"linear": made.new_zeros(()), "mel": made.new_zeros(())}
            for spectrum in self.spectra:
                for name, ours, theirs in zip(gaps, spectrum(made), spectrum(real), strict=True):
                    gap = (ours + FLOOR).log() - (theirs + FLOOR).log()
                    gaps[name] = gaps[name] + gap.abs().mean() / len(self.spectra)
            return gaps

    def _judged(self, made: Tensor, real: Tensor, who: Tensor | None) -> dict[str, Tensor]:
        zero = made.new_zeros(())
        found = {"adversarial": zero, "matching": zero, "discriminator": zero}
        for judge in (*self.discriminators, *self.waves):
            truth, made_up = judge(real, who), judge(made.detach(), who)
            wrong = (truth[-1].float() - 1).square().mean() + made_up[-1].float().square().mean()
            if who is not None and isinstance(judge, SpectrogramDiscriminator):
                stranger = judge.judged(truth[-2], who.roll(1, 0)).float()
                wrong = wrong + self.weights.stranger * stranger.square().mean()
            held = {name: parameter.detach() for name, parameter in judge.named_parameters()}
            seen = torch.func.functional_call(judge, held, (made, who))
            layers = list(zip(seen[:-1], truth[:-1], strict=True))
            gap = sum(((a.float() - b.detach().float()).abs().mean() for a, b in layers), zero)
            found["discriminator"] = found["discriminator"] + wrong
            found["adversarial"] = found["adversarial"] + (seen[-1].float() - 1).square().mean()
            found["matching"] = found["matching"] + gap / len(layers)
        return found
