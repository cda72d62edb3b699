"""The recordings and spectrograms of the site, all from the bundled clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = "assets/sounds"
SOURCE, TARGET = "ada", "eric"
CONVERTERS = ("regression", "variance", "uniform", "continuous", "selection", "transport", "shift")
# name -> how the reference of TARGET is spoiled: seconds kept, noise in dB below the speech, largest sample
REFERENCES = {"short": (3.0, None, None), "noisy": (None, 10.0, None), "clipped": (None, None, 0.1)}
SENTENCE = "The meeting is at half past nine on the third of May."


def files() -> list[str]:
    """Names of what ``write`` writes."""
    made = ["source", "target", "said", *CONVERTERS, "faster"]
    spoiled = [f"reference-{name}" for name in REFERENCES] + [f"of-{name}" for name in REFERENCES]
    pictures = ["source", "target", *CONVERTERS]
    return [*(f"{name}.opus" for name in made + spoiled), *(f"{name}.png" for name in pictures)]


def write(folder: Path) -> None:
    """Write all of them; half a minute of two cores."""
    import speechssl
    from speechssl import audio

    folder.mkdir(parents=True, exist_ok=True)
    source, target = speechssl.clip(SOURCE, "sentence").path, speechssl.clip(TARGET).path
    system = speechssl.load_bundle("tiny")
    voice = system.matching_set([target])
    sound = {"source": audio.read(source), "target": audio.read(speechssl.clip(TARGET, "sentence").path)}
    for name in CONVERTERS:
        sound[name] = system.convert(source, voice, converter=name).waveform
    for name in ("source", "target", *CONVERTERS):
        picture(folder / f"{name}.png", sound[name])
    sound["faster"] = system.convert(source, voice, tempo=1.25).waveform
    for name, how in REFERENCES.items():
        sound[f"reference-{name}"] = bad = spoiled(audio.read(target), *how)
        sound[f"of-{name}"] = system.convert(source, system.matching_set([bad])).waveform
    for name, waveform in sound.items():
        audio.write(folder / f"{name}.opus", waveform)
    speechssl.say(SENTENCE, [target], output=folder / "said.opus")


def spoiled(waveform: Any, seconds: float | None, noise: float | None, largest: float | None) -> Any:
    import torch

    from speechssl import Waveform

    samples, rate = waveform.samples, waveform.sample_rate
    if seconds:
        samples = samples[: round(seconds * rate)]
    if noise is not None:
        wind = torch.randn(len(samples), generator=torch.Generator().manual_seed(0))
        samples = samples + wind * samples.square().mean().sqrt() * 10 ** (-noise / 20)
    if largest:
        samples = samples.clamp(-largest, largest)
    return Waveform(samples.clamp(-1, 1), rate)


def picture(path: Path, waveform: Any) -> None:
    """A spectrogram, 0 to 8 kHz, grey: dark is loud."""
    import torch
    from PIL import Image

    from speechssl import audio

    samples = audio.resample(waveform, 16_000).samples
    power = torch.stft(samples, 512, 160, window=torch.hann_window(512), return_complex=True).abs().square()
    decibels = 10 * (power / power.max() + 1e-8).log10()
    grey = (255 * (1 - (decibels.clamp(-70, 0) + 70) / 70)).byte().flip(0)
    Image.fromarray(grey.numpy()).resize((640, 160)).save(path, optimize=True)
