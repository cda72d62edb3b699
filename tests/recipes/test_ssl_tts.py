"""The recipe end to end: prepare, align, train, export, adapt, speak; seconds, not hours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from speechssl import audio
from speechssl.errors import InputError
from speechssl.voices.clips import clip

RECIPE = "ssl_tts"
Recipe = Callable[[str], ModuleType]


@pytest.fixture
def run(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a script of the recipe with the words of a command line; gives what it prints."""

    def run(script: str, *words: object) -> str:
        monkeypatch.setattr("sys.argv", [f"{script}.py", *map(str, words)])
        capsys.readouterr()
        recipe(script).main()
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sentence by three shipped voices, as one manifest."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = ["path,speaker,split,text"]
    for number, name in enumerate(("ada", "dan", "ada", "dan", "beth")):
        sentence = clip(name, "sentence")
        audio.write(folder / f"{number}.wav", audio.read_mono(sentence.path, 16_000))
        lines.append(f'{number}.wav,one,{"dev" if name == "beth" else "train"},"{sentence.text}"')
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_prepare_align_train_export_adapt_speak(
    run: Callable[..., str], corpus: Path, encoder_file: Path, tmp_path: Path
) -> None:
    import speechssl

    cache, first, second = tmp_path / "cache", tmp_path / "first", tmp_path / "second"
    run("prepare", corpus / "manifest.csv", "--output", cache, "--model", encoder_file)
    index = json.loads((cache / "index.json").read_text())
    assert [row["split"] for row in index["utterances"]] == ["train"] * 4 + ["dev"]
    run("align", cache, "--iterations", 4, "--plot", tmp_path / "alignment.png")
    aligned = json.loads((cache / "aligned.json").read_text())
    assert all(sum(row["durations"]) == row["frames"] for row in aligned["utterances"])
    assert (tmp_path / "alignment.png").stat().st_size > 10_000
    run("train", cache, "--run", first, "--toy", "--steps", 6, "--max-seconds", 0)
    assert json.loads((first / "last" / "state.json").read_text())["step"] == 1
    assert '"dev"' in run("train", cache, "--run", first, "--toy", "--steps", 6)
    model = tmp_path / "toy.safetensors"
    run("export", cache, first, "--output", model, "--model", encoder_file, "--voice", corpus / "0.wav")
    run("train", cache, "--run", second, "--toy", "--steps", 2, "--init", model)
    made = speechssl.load_synthesizer(model, system=speechssl.load_bundle(encoder_file))
    voice = made.system.matching_set([corpus / "1.wav"])
    assert made.say("Good morning.", voice, interpolation=0.5).waveform.seconds > 0.2


def test_lj_speech_folders_and_bad_tables(recipe: Recipe, tmp_path: Path) -> None:
    prepare = recipe("prepare")
    (tmp_path / "metadata.csv").write_text("LJ1|In 1890.|In eighteen ninety.\nLJ2|Two.\n")
    rows = prepare.read_rows(tmp_path)
    assert [(Path(row["path"]).name, row["text"]) for row in rows] == [
        ("LJ1.wav", "In eighteen ninety."),
        ("LJ2.wav", "Two."),
    ]
    (tmp_path / "metadata.csv").write_text("LJ1\n")
    with pytest.raises(InputError, match="line 1: name"):
        prepare.read_rows(tmp_path)
    (tmp_path / "manifest.csv").write_text("file,text\na.wav,Hello\n")
    with pytest.raises(InputError, match=r"no column path \(there are: file, text\)"):
        prepare.read_rows(tmp_path / "manifest.csv")


def test_another_language_starts_from_all_weights_and_the_nearest_sounds(recipe: Recipe, tmp_path: Path) -> None:
    import torch

    from speechssl.synthesis import model as models
    from speechssl.synthesis.front_end import BORDERS, START
    from speechssl.synthesis.model import TextModel
    from speechssl.synthesis.network import NetworkConfig, TextToKeys

    def network(symbols: int, width: int = 16) -> TextToKeys:
        return TextToKeys(NetworkConfig(symbols, 6, width=width, hidden=24, encoder_layers=1, decoder_layers=1))

    english, german = (START, *BORDERS, "ɹ", "t", "i", "ɔ"), (START, *BORDERS, "t", "ɾ", "iː", "oː", "ɑ̃")
    before, after = network(len(english)), network(len(german))
    before.key_mean += 1.0
    path = models.save(
        tmp_path / "en.safetensors",
        TextModel(before, english, origin="x/1", frame_rate=50.0, language="en-us"),
        {"name": "x", "licence": "MIT"},
    )
    adapt, fresh = recipe("adapt"), after.symbol_embedding.weight[-1].clone()
    began = adapt.start_from(after, path, german)
    assert began == {"ɾ": "ɹ", "iː": "i", "oː": "ɔ"}
    old, new = before.symbol_embedding.weight.half().float(), after.symbol_embedding.weight
    assert torch.equal(new[german.index("ɾ")], old[english.index("ɹ")])
    assert torch.equal(new[german.index("t")], old[english.index("t")])
    assert torch.equal(new[-1], fresh)  # a sound that is like none keeps its random numbers
    assert torch.equal(after.keys.weight, before.keys.weight.half().float())
    assert float(after.key_mean.sum()) == 0.0  # the scales are those of the new speech
    with pytest.raises(InputError, match="choose another --size"):
        adapt.start_from(network(len(german), width=8), path, german)


def test_no_more_than_so_many_minutes_of_training_speech(recipe: Recipe) -> None:
    rows = [{"path": f"{n}.wav", "split": split, "seconds": "25"} for n, split in enumerate(("train", "dev") * 4)]
    kept = recipe("prepare").some_minutes(rows, 1.0)
    assert [row["path"] for row in kept] == ["0.wav", "1.wav", "2.wav", "3.wav", "4.wav", "5.wav", "7.wav"]


def test_pitch_of_a_frame_is_that_of_its_own_twenty_milliseconds(recipe: Recipe) -> None:
    f0 = np.zeros(41)
    f0[9:13] = 200.0  # 45 to 60 ms: within frame 2, which is centred on 52.5 ms
    pitch = recipe("prepare").frame_pitch(f0, 10, 50.0)
    assert pitch[2].tolist() == pytest.approx([np.log(200), 1.0])
    assert np.delete(pitch, 2, axis=0).sum() == 0


def test_new_sounds_begin_as_those_most_like_them(recipe: Recipe) -> None:
    adapt = recipe("adapt")
    known = ["u", "i", "k", "h", "ʃ", "ɑ", "t", "eɪ", "ɹ", "ʊ"]
    nearest = {symbol: adapt.nearest_phone(symbol, known) for symbol in ("uː", "iː", "eː", "k", "ɾ", "x", "ç")}
    assert nearest == {"uː": "u", "iː": "i", "eː": "eɪ", "k": "k", "ɾ": "ɹ", "x": "h", "ç": "ʃ"}
    assert adapt.nearest_phone("?", known) is None


def test_hard_sentences_are_the_same_every_time_and_long_enough(recipe: Recipe) -> None:
    hard_sentences = recipe("hard_words").hard_sentences
    texts = hard_sentences(8)
    assert texts == hard_sentences(8)
    assert 45 <= len(texts[3].split()) <= 75
    assert hard_sentences(4, seed=1) != texts[:4]
