"""Measure the watermark: found where it is, not found where it is not, and what it costs the sound.

    python recipes/watermark/measure.py --speech DIR --marked 200 --clean 1000 --output recipes/watermark/results.json
    python recipes/watermark/measure.py --speech DIR --marked 100 --only 'MP3 at 128 kbit/s' --output FILE

With ``--only`` what it measures is written into what ``FILE`` holds already.
``DIR`` holds recordings of speech. Half of the marked ones are converted to another voice first (what the front end
marks), half are recordings as they are. With ``--keep DIR`` pairs before and after are written for a judge of quality.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
import time
from pathlib import Path

import torch

import speechssl
from speechssl import audio, errors
from speechssl.receipts import watermark
from speechssl.signals import Waveform


def through(waveform: Waveform, suffix: str, rate: int) -> Waveform:
    """Coded and decoded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        audio.write(path, audio.resample(waveform, rate))
        return audio.read(path)


def lame(waveform: Waveform, kilobits: int) -> Waveform:
    """Coded by LAME at a constant rate, as FFmpeg has it, and decoded by FFmpeg; not libsndfile, which reads ours."""
    import av

    sound = audio.resample(waveform, 44_100)
    samples = (sound.samples.clamp(-1, 1) * 32767).round().short()[None].numpy()
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=44_100, layout="mono", options={"abr": "0"})
        stream.bit_rate = 1000 * kilobits
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 44_100
        resampler = av.AudioResampler(format="s16p", layout="mono", rate=44_100)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        pieces = [torch.from_numpy(frame.to_ndarray()) for frame in container.decode(audio=0)]
    return Waveform(torch.cat(pieces, dim=1)[0].float(), 44_100)


ATTACKS = {
    "clean": lambda w: w,
    "16-bit WAV": lambda w: through(w, ".wav", w.sample_rate),
    "MP3": lambda w: through(w, ".mp3", 44_100),  # libsndfile's default at 44.1 kHz, see RESULTS.md
    "MP3 at 128 kbit/s": lambda w: lame(w, 128),
    "Opus": lambda w: through(w, ".opus", 48_000),
    "8 kHz and back": lambda w: audio.resample(audio.resample(w, 8000), w.sample_rate),
    "44.1 kHz": lambda w: audio.resample(w, 44_100),
    "half as loud": lambda w: Waveform(w.samples * 0.5, w.sample_rate),
    "noise at 20 dB": lambda w: noisy(w, 20.0),
    "first half": lambda w: Waveform(w.samples[: len(w.samples) // 2], w.sample_rate),
}


def noisy(waveform: Waveform, decibels: float) -> Waveform:
    noise = torch.randn(waveform.samples.shape, generator=torch.Generator().manual_seed(0))
    gain = waveform.samples.pow(2).mean().sqrt() * 10 ** (-decibels / 20)
    return Waveform((waveform.samples + gain * noise).clamp(-1, 1), waveform.sample_rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--marked", type=int, default=200)
    parser.add_argument("--clean", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--only", choices=list(ATTACKS), nargs="+", help="these, and no false alarms")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    files = sorted(path for path in args.speech.rglob("*") if path.suffix.lower() in audio.SUFFIXES)
    random.Random(0).shuffle(files)
    system = speechssl.load_bundle("tiny")
    voices = [system.matching_set([speechssl.clip(name).path], name=name) for name in ("ada", "eric", "dan")]
    found: dict[str, list[float]] = {name: [] for name in args.only or ATTACKS}
    spent, heard = 0.0, 0.0
    for number, path in enumerate(files[: args.marked]):
        speech = audio.read(path).first(args.seconds)
        if number % 2 == 0:
            speech = system.convert(speech, voices[number // 2 % 3]).waveform
        begun = time.perf_counter()
        marked = watermark.mark(speech)
        spent, heard = spent + time.perf_counter() - begun, heard + speech.seconds
        for name, values in found.items():
            values.append(watermark.confidence(ATTACKS[name](marked)))
        if args.keep and number < 60:
            for kind, one in (("before", speech), ("after", marked)):
                place = args.keep / kind
                place.mkdir(parents=True, exist_ok=True)
                audio.write(place / f"{number:03d}.wav", one)
    shares = {name: sum(one >= watermark.PRESENT for one in values) / len(values) for name, values in found.items()}
    if args.only:
        result = json.loads(args.output.read_text(encoding="utf-8"))
        if result["marked"] != args.marked:
            parser.error(
                f"{args.output} is of {result['marked']} marked recordings; --marked {result['marked']} needed"
            )
        write(args.output, {**result, "found": {**result["found"], **shares}})
        return
    clean = [watermark.confidence(audio.read(path).first(args.seconds)) for path in files[-args.clean :]]
    result = {
        "marked": args.marked,
        "found": shares,
        "clean": len(clean),
        "false_alarms": sum(one >= watermark.PRESENT for one in clean) / len(clean),
        "clean_highest": sorted(clean)[-10:],
        "seconds_to_mark_a_second": spent / heard,
    }
    write(args.output, result)


def write(output: Path, result: dict[str, object]) -> None:
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    errors.run_recipe(main)
