"""What people bring, end to end with the models that ship: eight inputs on which an earlier version failed.

The inputs are made from the bundled clips. $SPEECHSSL_CASES names a folder with other inputs of the same names.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import GRADIO_WARNS, Answer, in_process

from speechssl import audio
from speechssl.signals import Waveform
from speechssl.synthesis.front_end import FrontEnd
from speechssl.voices import clips

SPEAKERS = ("ada", "beth", "dan", "eric")
LINES = """There are four fruits that we want:
Apple
Banana
Orange
Blueberry

Overview
The bridge is closed.
"""
NOTES = """# Getting started

Read [the guide](https://example.com/guide) for **more**.

* open the app
* press the button

| a | b |
|---|---|
| 1 | 2 |
"""
# texts, and what is said of them, a sentence a line
TEXTS = {
    "abbreviations.txt": (
        "She left at 5 p.m. They talked. We bought milk, eggs, etc. Then we went. She holds a Ph.D. in music. "
        "It took 5 min., no more. Smith et al. agree, see pp. 12-15.",
        "she left at five p m. | they talked. | we bought milk, eggs, et cetera. | then we went. | "
        "she holds a p h d in music. | it took five minutes, no more. | "
        "smith et al agree, see pages twelve to fifteen.",
    ),
    "lines.txt": (
        LINES,
        "there are four fruits that we want. | apple. | banana. | orange. | blueberry. | overview. | "
        "the bridge is closed.",
    ),
    "notes.md": (NOTES, "getting started. | read the guide for more. | open the app. | press the button"),
    "numbers.txt": (
        "Open 24/7. A 50/50 chance. It took 3 1/2 hours and 5½ miles. The score was 3:2. Time 1:30:25. MP3s and PDFs. "
        "Dial 911 or +44 20 7946 0958. It costs 27 €, or $5-10. CO2 rose 5‰. 2*3=6.",
        "open twenty four seven. | a fifty fifty chance. | it took three and a half hours and five and a half miles. | "
        "the score was three to two. | time one hour thirty minutes twenty five seconds. | m p threes and p d f's. | "
        "dial nine one one or plus four four two zero seven nine four six zero nine five eight. | "
        "it costs twenty seven euros, or five to ten dollars. | c o two rose five per thousand. | "
        "two times three equals six.",
    ),
    "roman.txt": (
        "World War II ended in 1945. Henry VIII had six wives. See Chapter IV of Part III.",
        "world war two ended in nineteen forty five. | henry the eighth had six wives. | "
        "see chapter four of part three.",
    ),
}  # fmt: skip
LISTS = {
    "excel.csv": "\ufeffpath,text\r\ntalk.opus,hello\r\n",
    "bom.jsonl": '\ufeff{"path": "talk.opus"}\n',
    "fairseq.tsv": "lists\ntalk.opus\t32000\n",
}
Run = Callable[..., Answer]
pytestmark = [pytest.mark.filterwarnings(one) for one in GRADIO_WARNS]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if given := os.environ.get("SPEECHSSL_CASES"):
        return Path(given)
    folder = tmp_path_factory.mktemp("cases")
    for name in ("telephone", "same-name/monday", "same-name/tuesday", "same-stem", "lists", "text"):
        (folder / name).mkdir(parents=True)
    spoken = {name: audio.read_mono(clips.clip(name, "sentence").path, 16_000) for name in SPEAKERS}
    for name, waveform in spoken.items():
        phone = audio.resample(waveform, 8000).samples.numpy()
        soundfile.write(folder / "telephone" / f"phone-{name}.wav", phone, 8000, subtype="ULAW")
    short = spoken["ada"].samples[8000:40_000]
    for name in ("same-stem/talk.wav", "same-stem/talk.mp3", "lists/talk.opus", "same-name/monday/01.opus"):
        audio.write(folder / name, Waveform(short.clone(), 16_000))
    audio.write(folder / "same-name/tuesday/01.opus", Waveform(spoken["ada"].samples[40_000:72_000].clone(), 16_000))
    soundfile.write(folder / "polarity.flac", np.stack([short.numpy(), -short.numpy()], axis=1), 16_000)
    soft = spoken["ada"].samples.clone()
    soft[len(soft) // 3 : 2 * len(soft) // 3] *= 0.1
    audio.write(folder / "soft-middle.opus", Waveform(soft, 16_000))
    with zipfile.ZipFile(folder / "names.zip", "w") as zipped:
        zipped.write(folder / "lists/talk.opus", "日本/夜.opus")
        zipped.write(folder / "lists/talk.opus", "日本/朝.opus")
        zipped.writestr("phone.mp4", b"no film")
    for name, text in LISTS.items():
        (folder / "lists" / name).write_bytes(text.encode())
    for name, (text, _) in TEXTS.items():
        (folder / "text" / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("SPEECHSSL_VOICES", str(tmp_path / "voices"))
    monkeypatch.chdir(tmp_path)
    return in_process(capsys)


def levels(path: Path) -> tuple[np.ndarray, float]:
    """dB of the middle third of a recording against the rest, over 100 ms each, and the level of the whole."""
    samples = audio.read_mono(path, 16_000).samples.double().numpy()
    frames = np.square(samples[: len(samples) // 1600 * 1600]).reshape(-1, 1600).mean(axis=1)
    return 10 * np.log10(frames + 1e-12), 10 * float(np.log10(frames.mean() + 1e-12))


def test_two_people_on_the_telephone_are_not_the_same(cases: Path, command: Run) -> None:
    for one, other in (("ada", "eric"), ("ada", "beth"), ("dan", "eric")):
        files = [cases / "telephone" / f"phone-{name}.wav" for name in (one, other)]
        found = command("verify", *files, "--json").json
        assert found["decision"] in ("different", "none"), (one, other)
        assert (found.get("probability") or 0) < 0.5


def test_two_recordings_of_one_name_are_two_references(cases: Path, command: Run, tmp_path: Path) -> None:
    answer = command(
        "convert", cases / "same-stem/talk.wav", "-r", cases / "same-name", "-o", "o.wav", "--attribution", "a.csv"
    )
    assert answer.code == 0, answer.err
    told = (tmp_path / "a.csv").read_text()
    assert "monday/01.opus" in told
    assert "tuesday/01.opus" in told


def test_two_recordings_of_one_stem_are_both_converted(cases: Path, command: Run, tmp_path: Path) -> None:
    answer = command("convert", cases / "same-stem", "--voice", "eric", "-o", "out/")
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in (tmp_path / "out").glob("*.wav")) == ["talk-mp3.wav", "talk.wav"]


def test_channels_that_cancel_each_other_are_speech(cases: Path, command: Run, tmp_path: Path) -> None:
    answer = command("convert", cases / "polarity.flac", "--voice", "eric", "-o", "o.wav")
    assert "channel 1 was taken" in answer.err
    assert levels(tmp_path / "o.wav")[1] > -40
    assert command("units", "encode", cases / "polarity.flac", "-o", "units").code == 0
    (line,) = (tmp_path / "units/part-00000.jsonl").read_text().splitlines()
    assert len(set(json.loads(line)["units"])) > 20


def test_a_soft_passage_stays_soft(cases: Path, command: Run, tmp_path: Path) -> None:
    source = cases / "soft-middle.opus"
    assert command("convert", source, "--voice", "eric", "-o", "o.wav").code == 0
    (before, _), (after, _) = levels(source), levels(tmp_path / "o.wav")
    third = len(before) // 3
    loud = before > before[:third].max() - 20

    def softer(found: np.ndarray) -> float:
        middle = before[third : 2 * third] > before[third : 2 * third].max() - 20
        return float(found[:third][loud[:third]].mean() - found[third : 2 * third][middle].mean())

    assert softer(before) > 15
    assert softer(after) == pytest.approx(softer(before), abs=3)


def test_names_of_all_scripts_come_back_from_the_batch(cases: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="the page needs Gradio")
    from speechssl.app.handlers import batches
    from speechssl.app.handlers.conversions import Options
    from speechssl.app.handlers.targets import Target
    from speechssl.app.state import Settings, State
    from speechssl.app.tabs.batch import converter

    settings = Settings(voices=tmp_path / "voices", speakers=tmp_path / "s.sqlite", watermark=False)
    state = State(settings, folder=tmp_path / "work")
    each = converter(state, Target(voices=(("bundled: eric", 1.0),)), Options(), None)
    made, rows = batches.convert(
        state.jobs, state.sessions.get(None), cases / "names.zip", each, most_seconds=60.0, tell=lambda *_: None
    )
    assert sorted(row["recording"] for row in rows) == ["phone.mp4", "日本/夜.opus", "日本/朝.opus"]
    assert not any(row["error"] for row in rows if row["recording"] != "phone.mp4")
    with zipfile.ZipFile(made) as zipped:
        names = zipped.namelist()
    assert all(any(letter in name for name in names) for letter in "夜朝")


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_other_programs_are_read(name: str, cases: Path, command: Run, tmp_path: Path) -> None:
    answer = command("units", "encode", cases / "lists" / name, "-o", "units")
    assert (answer.code, "1 encoded" in answer.out) == (0, True), answer.err
    assert (tmp_path / "units/part-00000.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_read_as_a_person_reads_them(name: str, cases: Path) -> None:
    sentences = FrontEnd().sentences((cases / "text" / name).read_text(encoding="utf-8-sig"))
    said = " | ".join(" ".join(word.word + word.after.strip() for word in one) for one in sentences)
    assert said == TEXTS[name][1]
