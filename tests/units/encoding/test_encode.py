"""Encoding: the same ids always, exactly once, whatever happens on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechssl import encoders
from speechssl.errors import InputError
from speechssl.units.codebooks.codebook import load
from speechssl.units.codebooks.fitting import fit_encoder
from speechssl.units.codebooks.kmeans import Settings
from speechssl.units.codebooks.syllables import frame_units
from speechssl.units.encoding import engine, formats
from speechssl.units.encoding.checking import check
from speechssl.units.encoding.encode import encode
from speechssl.units.encoding.manifest import Entry, entries
from speechssl.units.encoding.records import UnitEncoder
from speechssl.units.encoding.workers import Recipe


@pytest.fixture
def recipe(codebook_file: Path, encoder_file: Path) -> Recipe:
    return Recipe(str(codebook_file), str(encoder_file), device="cpu")


def visible(folder: Path) -> dict[str, bytes]:
    """Every file that is not hidden, and its bytes."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if not p.name.startswith(".")}


def test_a_record_says_everything(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    summary = encode([recordings / "list.jsonl"], recipe, tmp_path / "out", block=3)
    assert (summary.encoded, summary.failed) == (6, 1)
    records = list(formats.read_all(tmp_path / "out"))
    assert [r["id"] for r in records] == [f"take{i}" for i in (0, 1, 2, 3, 5, 6)]
    encoder, book = encoders.load(recipe.model), load(recipe.codebook)
    for record in records:
        samples = soundfile.info(recordings / record["path"])
        assert record["sample_rate"] == samples.samplerate
        assert record["seconds"] == pytest.approx(samples.frames / samples.samplerate, abs=1e-4)
        frames = encoder.num_frames(round(record["seconds"] * 16000))
        assert sum(record["durations"]) == record["frames"] == frames
        # frame by frame what the encoder and the codebook give
        ids = np.repeat(np.array(record["units"]), np.array(record["durations"]))
        assert np.array_equal(ids, book.codes(encoder.encode_file(recordings / record["path"]))[:, 0])
        assert record["start"][0] == 0
        assert record["end"][-1] == pytest.approx(frames / 50)
        assert record["codebook"] == book.fingerprint
        assert record["text"] == f"words {record['id'][4:]}"
        # the manifest said something else than what was measured; both are there
        assert record["manifest_seconds"] == 99
    failure = json.loads((tmp_path / "out" / "failed.jsonl").read_text())
    assert (failure["id"], failure["index"]) == ("take4", 4)
    assert "take4.wav" in failure["reason"]
    finding = check(tmp_path / "out")
    assert (finding.sound, finding.records, finding.failed) == (True, 6, 1)


@pytest.mark.parametrize("form", list(formats.SUFFIXES))
def test_every_format_holds_the_same_units(recipe: Recipe, recordings: Path, tmp_path: Path, form: str) -> None:
    for name in ("a", "b"):
        encode([recordings / "list.jsonl"], recipe, tmp_path / name, form=form, block=4)
    assert visible(tmp_path / "a") == visible(tmp_path / "b")
    assert check(tmp_path / "a").faults == []
    encode([recordings / "list.jsonl"], recipe, tmp_path / "jsonl", block=7)
    wanted = list(formats.read_all(tmp_path / "jsonl"))
    found = list(formats.read_all(tmp_path / "a"))
    if form == "text":
        # the codebook is that of the folder
        wanted = [{key: r[key] for key in ("id", "units", "codebook")} for r in wanted]
    assert found == wanted


def test_shards_and_workers_give_the_bytes_of_one_run(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    encode([recordings / "list.jsonl"], recipe, tmp_path / "one", block=2)
    for shard in ((2, 3), (1, 3), (3, 3)):
        encode([recordings / "list.jsonl"], recipe, tmp_path / "shards", block=2, shard=shard)
    assert visible(tmp_path / "shards") == visible(tmp_path / "one")
    encode([recordings / "list.jsonl"], recipe, tmp_path / "workers", block=2, num_workers=2)
    assert visible(tmp_path / "workers") == visible(tmp_path / "one")
    assert "failed.jsonl" in visible(tmp_path / "one")


def test_nothing_is_done_twice(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    encode([recordings / "list.jsonl"], recipe, tmp_path / "out")
    before = visible(tmp_path / "out")
    summary = encode([recordings / "list.jsonl"], recipe, tmp_path / "out")
    assert (summary.encoded, summary.failed, summary.already) == (0, 1, 6)
    assert visible(tmp_path / "out") == before


def test_times_are_of_the_file_when_silence_is_left_out(recipe: Recipe, shared_clip: Path) -> None:
    book = load(recipe.codebook)
    entry = Entry("x", "x.ogg", str(shared_clip))
    encoder = encoders.load(recipe.model)
    whole = UnitEncoder(encoder, book).record(entry)
    spoken = UnitEncoder(encoder, book, speech_only=True).record(entry)
    assert 0 < spoken["frames"] < whole["frames"]
    ids = np.repeat(np.array(whole["units"]), np.array(whole["durations"]))
    for unit, start, end in zip(spoken["units"], spoken["start"], spoken["end"], strict=True):
        assert (ids[round(start * 50) : round(end * 50)] == unit).all()


@pytest.fixture
def shared_clip(tmp_path: Path) -> Path:
    """A packaged voice between two seconds of silence."""
    from speechssl import audio
    from speechssl.voices.clips import clip

    waveform = audio.read_mono(clip("ada", "sentence").path, 16000)
    quiet = np.zeros(16000, np.float32)
    soundfile.write(tmp_path / "clip.wav", np.r_[quiet, waveform.samples.numpy()[:32000], quiet], 16000)
    return tmp_path / "clip.wav"


def test_uncollapsed_units_are_the_frames(recipe: Recipe, recordings: Path) -> None:
    book, encoder = load(recipe.codebook), encoders.load(recipe.model)
    entry = Entry("x", "take3.wav", str(recordings / "take3.wav"))
    frames = UnitEncoder(encoder, book, collapsed=False).record(entry)
    runs = UnitEncoder(encoder, book).record(entry)
    assert frames["units"] == np.repeat(runs["units"], runs["durations"]).tolist()
    assert set(frames["durations"]) == {1}


def test_another_codebook_or_list_is_refused(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    encode([recordings / "take0.wav"], recipe, out)
    book = load(recipe.codebook)
    from dataclasses import replace

    other = replace(book, centroids=book.centroids[:, :7].copy())
    other.save(tmp_path / "other.safetensors")
    with pytest.raises(InputError) as refused:
        encode([recordings / "take0.wav"], replace(recipe, codebook=str(tmp_path / "other.safetensors")), out)
    assert book.origin in str(refused.value)
    assert other.origin in str(refused.value)
    with pytest.raises(InputError, match=r"another list of recordings \(1 there, 2 now\)"):
        encode([recordings / "take0.wav", recordings / "take1.wav"], recipe, out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "novel.txt").write_text("mine")
    with pytest.raises(InputError, match=r"novel\.txt"):
        encode([recordings / "take0.wav"], recipe, tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["novel.txt"]


@pytest.mark.skipif(os.name != "posix", reason="locks of another kind")
def test_check_finds_what_is_wrong(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    encode([recordings / "list.jsonl"], recipe, out, block=3)
    part = out / "part-00000.jsonl"
    good = part.read_text()
    records = [json.loads(line) for line in good.splitlines()]

    def faults(rows: list[dict[str, object]]) -> str:
        part.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return " ".join(check(out).faults)

    assert "ends before" in faults(records[:-1])
    assert "one too many" in faults([*records, records[0]])
    assert "twice: take0" in faults([records[0], records[0], records[2]])
    assert "not the ones of the list" in faults([records[1], records[0], records[2]])
    assert "durations add up" in faults([{**records[0], "frames": 1}, *records[1:]])
    assert "units outside" in faults([{**records[0], "units": [99]}, *records[1:]])
    part.unlink()
    assert "part-00000.jsonl is missing" in check(out).faults[0]
    part.write_text(good)
    assert check(out).sound


def test_what_failed_is_encoded_again_if_the_folder_is_of_the_same_list(
    recipe: Recipe, recordings: Path, tmp_path: Path
) -> None:
    audio = shutil.copytree(recordings, tmp_path / "audio")
    out, given = tmp_path / "out", [audio / "list.jsonl"]
    encode(given, recipe, out, block=2)
    before = visible(out)
    # nothing is deleted for a list, or a share, that is not encoded now
    with pytest.raises(InputError, match="another list"):
        encode([audio / "take0.wav"], recipe, out, block=2, retry=True)
    with pytest.raises(InputError, match="part is 2 there and 3 now"):
        encode(given, recipe, out, block=3)
    assert encode(given, recipe, out, block=2, shard=(1, 4), retry=True).encoded == 0
    assert visible(out) == before
    shutil.copy(audio / "take3.wav", audio / "take4.wav")
    summary = encode(given, recipe, out, block=2, retry=True)
    assert (summary.encoded, summary.already, summary.failed) == (1, 6, 0)
    assert check(out).records == 7
    made, again = {"part-00002.jsonl", "failed.jsonl"}, visible(out)
    assert all(again[name] == before[name] for name in before.keys() - made)


def test_a_folder_says_what_it_lacks(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    encode([recordings / "list.jsonl"], recipe, out, block=3)
    assert engine.lacking(out, 6) == ""
    assert engine.lacking(out, 4).startswith("2 of 7 recordings are missing; `speechssl units check")
    encode([recordings / "take4.wav"], recipe, tmp_path / "failed")
    with pytest.raises(InputError, match=r"failed holds no units, for every recording failed"):
        list(formats.read_all(tmp_path / "failed"))


def test_bad_lists_name_the_line(tmp_path: Path) -> None:
    lists = {
        '{"path": "a.wav"}\n{"path": ': r"list.jsonl:2 is damaged: no JSON",
        '{"path": "a.wav"}\n[1]': r"list.jsonl:2: a JSON list",
        '{"wave": "a.wav"}': r"list.jsonl:1: no 'path' \(keys: wave\)",
        '{"path": "a.wav"}\n{"path": "b.wav", "id": "a"}': r"list.jsonl:2: the id 'a' is taken by .*list.jsonl:1",
        '{"path": "a.wav", "id": [1]}': r"list.jsonl:1: the id is \[1\]",
        "": "no recordings",
    }
    path = tmp_path / "list.jsonl"
    for text, message in lists.items():
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            entries([path])
    (tmp_path / "list.csv").write_text("path,text\na.wav,x\nb.wav\n")
    with pytest.raises(InputError, match=r"list\.csv:3"):
        entries([tmp_path / "list.csv"])
    with pytest.raises(InputError, match="matches no file"):
        entries([str(tmp_path / "*.flac")])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.jsonl", b'\xef\xbb\xbf{"path": "sub/a.wav", "text": "x"}\r\n\r\n'),
        ("windows.jsonl", b'{"path": "sub\\\\a.wav", "text": "x"}\r\n'),
        ("excel.csv", b"\xef\xbb\xbfpath,text\r\nsub/a.wav,x\r\n,\r\n"),
        ("european.csv", b'\xef\xbb\xbfpath;text\r\n"sub\\a.wav";x\r\n;\r\n'),
        ("tabs.csv", b"text\tpath\nx\tsub/a.wav\n"),
        ("commas.tsv", b"text,path\nx,sub/a.wav\n"),
        ("tabs.tsv", b"\xef\xbb\xbfpath\ttext\r\nsub\\a.wav\tx\r\n"),
    ],
)
def test_lists_are_read_as_people_have_them(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.wav").write_bytes(b"sound")
    (tmp_path / name).write_bytes(content)
    assert entries([tmp_path / name]) == [Entry("sub/a", "sub/a.wav", str(tmp_path / "sub/a.wav"), {"text": "x"})]


def test_a_backslash_in_a_name_stays_where_such_a_file_exists(tmp_path: Path) -> None:
    (tmp_path / "a\\b.wav").write_bytes(b"sound")
    (tmp_path / "list.csv").write_text("path\na\\b.wav\n")
    assert entries([tmp_path / "list.csv"])[0].file == str(tmp_path / "a\\b.wav")


@pytest.mark.parametrize("root", ["absolute", "relative", "of elsewhere", "with a byte order mark"])
def test_lists_of_fairseq(tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b c.wav"):
        (folder / name).write_bytes(b"sound")
    written = {"absolute": str(folder), "relative": "lists", "with a byte order mark": "\ufefflists"}
    text = f"{written.get(root, 'was/there')}\r\na.wav\t32000\r\nb c.wav\t16000\r\n\r\n"
    (folder / "train.tsv").write_text(text, encoding="utf-8", newline="")
    found = entries([folder / "train.tsv"])
    assert [(one.id, one.path, one.extra) for one in found] == [("a", "a.wav", {}), ("b c", "b c.wav", {})]
    assert [Path(one.file).resolve() for one in found] == [folder / "a.wav", folder / "b c.wav"]


def test_entries_are_taken_as_they_are(recordings: Path) -> None:
    found = entries([recordings / "list.jsonl"])
    assert entries(found) == found
    with pytest.raises(InputError, match=r"take0\.wav is given twice"):
        entries([*found, found[0]])
    with pytest.raises(InputError, match=r"list\.jsonl:1 is given twice"):
        entries([recordings / "list.jsonl"], [recordings / "list.jsonl"])


@pytest.mark.parametrize("name", ["all.zip", "all.tar.gz"])
def test_an_archive_is_named_before_a_folder_is_made(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(InputError, match=f"{name} is an archive; unpack it first"):
        entries([tmp_path / name])


def test_addresses_that_need_a_library_are_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(protocol: str) -> None:
        raise ImportError(f'{protocol} requires "aiohttp"')

    with pytest.raises(InputError, match=r"addresses foo://\.\.\. cannot be read"):
        entries(["foo://a/b.wav"])
    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    for protocol, library in (("https", "fsspec[http]"), ("s3", "fsspec[s3]"), ("hf", "huggingface_hub")):
        with pytest.raises(InputError, match=rf"requires .aiohttp.*run: pip install '{re.escape(library)}'"):
            entries([f"{protocol}://a/b.wav"])


def test_bad_recordings_are_told_and_cost_nothing_else(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    whole = (recordings / "take6.wav").read_bytes()
    (audio / "good.wav").write_bytes(whole)
    (audio / "no_bytes.wav").write_bytes(b"")
    (audio / "text.flac").write_text("no audio at all")
    soundfile.write(audio / "no_samples.wav", np.zeros(0, np.float32), 16000)
    soundfile.write(audio / "too_short.wav", np.zeros(50, np.float32), 16000)
    soundfile.write(audio / "silent.wav", np.zeros(16000, np.float32), 16000)
    (audio / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    rows = [{"path": path.name} for path in sorted(audio.iterdir())]
    (audio / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    summary = encode([audio / "list.jsonl"], recipe, out)
    assert (summary.encoded, summary.failed) == (2, 5)
    records = {record["id"]: record for record in formats.read_all(out)}
    assert set(records) == {"good", "silent"}
    # silence is audio: it has units like everything else, the same ones each time
    assert records["silent"]["frames"] == 49
    reasons = {row["id"]: row["reason"] for row in map(json.loads, (out / "failed.jsonl").read_text().splitlines())}
    assert set(reasons) == {"no_bytes", "text", "no_samples", "too_short", "gone"}
    assert all(f"{name}." in reason for name, reason in reasons.items()), reasons
    assert check(out).sound
    alone = encode([audio / "good.wav"], recipe, tmp_path / "alone")
    assert alone.encoded == 1
    assert next(formats.read_all(tmp_path / "alone"))["units"] == records["good"]["units"]


def test_silence_and_no_vad_speech_are_told(recipe: Recipe, tmp_path: Path) -> None:
    from dataclasses import replace

    soundfile.write(tmp_path / "silent.wav", np.zeros(16000, np.float32), 16000)
    summary = encode([tmp_path / "silent.wav"], replace(recipe, speech_only=True), tmp_path / "out")
    assert (summary.encoded, summary.failed) == (0, 1)
    assert "holds no speech" in (tmp_path / "out" / "failed.jsonl").read_text()


def test_addresses_are_read_as_files_are(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    given = [f"file://{recordings}/{name}.wav" for name in ("take0", "nowhere")]
    summary = encode(given, recipe, tmp_path / "out")
    assert (summary.encoded, summary.failed) == (1, 1)
    (record,) = formats.read_all(tmp_path / "out")
    assert record["path"] == given[0]
    encode([recordings / "take0.wav"], recipe, tmp_path / "file")
    assert record["units"] == next(formats.read_all(tmp_path / "file"))["units"]
    assert "nowhere.wav" in (tmp_path / "out" / "failed.jsonl").read_text()


@pytest.fixture
def syllables(encoder_file: Path, recordings: Path, tmp_path: Path) -> Recipe:
    """A codebook of segments of the small encoder."""
    encoder = encoders.load(encoder_file)
    files = [recordings / f"take{number}.wav" for number in (0, 1, 3, 5, 6)]
    settings = Settings(batches=5, starts=1, passes=3)
    book = fit_encoder(encoder, files, 6, family="syllable", rate=8.0, settings=settings)
    return Recipe(str(book.save(tmp_path / "syllables.safetensors")), str(encoder_file), device="cpu")


def test_segments_are_encoded_as_units_are(syllables: Recipe, recordings: Path, tmp_path: Path) -> None:
    book, encoder = load(syllables.codebook), encoders.load(syllables.model)
    assert book.segmentation is not None
    summary = encode([recordings / "list.jsonl"], syllables, tmp_path / "out", block=3)
    assert (summary.encoded, summary.failed) == (6, 1)
    for record in formats.read_all(tmp_path / "out"):
        frames = encoder.encode_file(recordings / record["path"]).frames.numpy()
        ends = book.segmentation.ends(frames)
        ids = frame_units(frames, ends, book.centroids[0])
        assert np.array_equal(np.repeat(np.array(record["units"]), np.array(record["durations"])), ids)
        assert len(record["units"]) <= len(ends)
    assert check(tmp_path / "out").sound
    encode([recordings / "list.jsonl"], syllables, tmp_path / "two", block=3, num_workers=2)
    assert visible(tmp_path / "two") == visible(tmp_path / "out")


def test_unknown_options_are_told_before_anything_is_loaded(recipe: Recipe, recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for options, message in (
        ({"form": "json"}, "--format is 'json'"),
        ({"shard": (3, 2)}, "--shard is 3/2"),
        ({"block": 0}, "--part is 0"),
        ({"num_workers": 0}, "--workers is 0"),
        ({"through": "spark"}, "--engine is 'spark'"),
    ):
        with pytest.raises(InputError, match=message):
            encode([recordings], recipe, tmp_path / "out", **options)  # type: ignore[arg-type]
    for output in ("file", "file/units"):
        with pytest.raises(InputError, match=f"{tmp_path}/file is a file, so units cannot be written"):
            encode([recordings], recipe, tmp_path / output)
