"""Draw one sentence: what is heard, how high it is, and which frame is which sound.

python recipes/ssl_tts/picture.py "A sentence." --reference ada.wav --output sample.png [--sound sample.wav]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from speechssl import audio, errors
from speechssl.conversion.bundles import load_bundle
from speechssl.synthesis.front_end import BORDERS, START
from speechssl.synthesis.say import SYNTHESIZER, load_synthesizer
from speechssl.synthesis.synthesizer import Speech

WINDOW, HOP, FLOOR = 400, 160, 70.0  # samples, samples, dB below the loudest


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """Power in dB (bins, frames), no more than ``FLOOR`` below its maximum."""
    padded = np.pad(samples, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = 10 * np.log10(np.abs(np.fft.rfft(frames, 512)) ** 2 + 1e-12).T
    return np.maximum(power, power.max() - FLOOR)


def draw(speech: Speech, path: Path) -> None:
    """One sentence, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    prediction, rate = speech.prediction, speech.waveform.sample_rate
    ends = prediction.times().numpy()
    starts = np.concatenate([[0], ends[:-1]])
    figure, (top, middle, bottom) = pyplot.subplots(
        3, 1, figsize=(11, 9), sharex=True, height_ratios=(3, 1, 3), constrained_layout=True
    )
    power = spectrogram(speech.waveform.samples.numpy())
    top.imshow(power, aspect="auto", origin="lower", extent=(0, speech.waveform.seconds, 0, rate / 2000), cmap="magma")
    top.set(ylabel="kHz", title=speech.text)
    for word in speech.words:
        top.axvline(word.start, color="white", linewidth=0.6)
        top.text(word.start, rate / 2000 * 0.93, f" {word.text}", color="white", fontsize=8)
    f0 = prediction.f0.numpy()
    middle.plot(np.arange(len(f0)) * 0.005, np.where(f0 > 0, f0, np.nan), linewidth=1)
    middle.set(ylabel="Hz, as predicted")
    for number, (symbol, start, end) in enumerate(zip(prediction.tokens.symbols, starts, ends, strict=True)):
        silent = symbol == START or symbol in BORDERS
        bottom.barh(number, end - start, left=start, height=0.9, color="lightgrey" if silent else "tab:blue")
        bottom.text(end + 0.01, number, symbol, fontsize=7, va="center")
    bottom.set(xlabel="seconds", ylabel="sounds, in order", yticks=(), xlim=(0, speech.waveform.seconds))
    figure.savefig(path, dpi=80)
    # a picture of few colours is a third of the size
    Image.open(path).convert("RGB").quantize(96).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--reference", type=Path, nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sound", type=Path, default=None)
    parser.add_argument("--synthesizer", type=Path, default=SYNTHESIZER)
    args = parser.parse_args()
    errors.require_for_recipe("matplotlib")
    made = load_synthesizer(args.synthesizer, system=load_bundle())
    speech = made.say(args.text, made.system.matching_set(args.reference))
    draw(speech, args.output)
    if args.sound:
        audio.write(args.sound, speech.waveform)


if __name__ == "__main__":
    errors.run_recipe(main)
