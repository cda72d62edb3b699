"""Recordings as people name them: files, folders, patterns, and lists of every kind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from speechssl import audio
from speechssl.audio import lists, search
from speechssl.errors import InputError

BOM = "\ufeff"
PLACES = ["a.wav", "deep/b c.wav"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hidden = (".hidden.wav", "__MACOSX/a.wav", ".git/c.wav", "@eaDir/a.wav", "$RECYCLE.BIN/a.wav", "Thumbs.db")
    for name in (*PLACES, *hidden, "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_is_searched_without_what_is_hidden(folder: Path) -> None:
    assert search.recordings([folder]) == [folder / name for name in PLACES]
    assert search.below(folder) == [folder / "a.wav", folder / "deep/b c.wav", folder / "notes.txt"]
    assert search.located([folder / "deep"]) == [(folder / "deep/b c.wav", folder / "deep")]


def test_a_link_that_leads_nowhere_is_no_less_a_recording(folder: Path) -> None:
    (folder / "gone.wav").symlink_to("nowhere.wav")
    (folder / "itself.wav").symlink_to("itself.wav")
    (folder / "folder.wav").symlink_to(folder / "deep")
    assert search.recordings([folder]) == [
        folder / name for name in ("a.wav", "deep/b c.wav", "gone.wav", "itself.wav")
    ]
    for name in ("gone.wav", "itself.wav"):
        with pytest.raises(InputError, match=name):
            audio.info(folder / name)


def test_a_link_to_a_folder_elsewhere_is_followed_once(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(folder / "a.wav", elsewhere / "far.wav")
    (elsewhere / "back").symlink_to(folder)
    (elsewhere / "round").symlink_to(elsewhere)
    (folder / "linked").symlink_to(elsewhere)
    (folder / "twice").symlink_to(elsewhere)
    assert search.recordings([folder]) == [folder / name for name in (*PLACES, "linked/far.wav")]


def test_patterns_files_and_repetitions(folder: Path) -> None:
    assert search.recordings([f"{folder}/**/*.wav", folder / "a.wav"]) == [folder / name for name in PLACES]
    (folder / "take [1].wav").touch()
    assert search.recordings([folder / "take [1].wav"]) == [folder / "take [1].wav"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("*.ogg", "matches no file"),
        ("deep/none", "holds no audio"),
        ("https://a.org/b.wav", "address, which is not taken"),
    ],
)
def test_what_names_no_recording_is_said(folder: Path, given: str, message: str) -> None:
    (folder / "deep/none").mkdir()
    with pytest.raises(InputError, match=message):
        search.recordings([given if "://" in given else f"{folder}/{given}"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.txt", "# my recordings\na.wav\n\ndeep/b c.wav\n"),
        ("windows.txt", BOM + "a.wav\r\ndeep\\b c.wav\r\n"),
        ("tabs.lst", "a.wav\tsome text\ndeep/b c.wav\tmore\n"),
        ("usual.csv", "path,text\na.wav,one\ndeep/b c.wav,\n"),
        ("excel.csv", BOM + "text;Path\r\none;a.wav\r\ntwo;deep\\b c.wav\r\n;\r\n"),
        ("bare.csv", "a.wav\ndeep/b c.wav\n"),
        ("tabs.tsv", "file\tspeaker\na.wav\tx\ndeep/b c.wav\ty\n"),
        ("bom.jsonl", BOM + '{"audio_filepath": "a.wav"}\r\n\r\n{"path": "deep/b c.wav", "n": 1}\r\n'),
        ("nemo.json", '{"audio_filepath": "a.wav", "duration": 1}\n{"audio_filepath": "deep/b c.wav"}\n'),
        ("fairseq.tsv", ".\na.wav\t16000\ndeep/b c.wav\t8000\n"),
        ("moved.tsv", "/no/such/folder\na.wav\t16000\ndeep/b c.wav\t8000\n"),
    ],
)
def test_lists_of_every_kind(folder: Path, name: str, content: str) -> None:
    (folder / name).write_bytes(content.encode())
    found = lists.rows(folder / name)
    assert [Path(row.file) for row in found] == [folder / place for place in PLACES]
    assert all(row.where.startswith(f"{folder / name}:") for row in found)
    assert search.recordings([], [folder / name]) == [folder / place for place in PLACES]


def test_the_other_columns_stay(folder: Path) -> None:
    (folder / "list.csv").write_text("id,path,text\n7,a.wav,words\n")
    assert lists.rows(folder / "list.csv")[0].extra == {"id": "7", "text": "words"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "none.txt: No such file"),
        ("empty.txt", "\n# nothing\n", "holds no recordings"),
        ("latin.txt", b"caf\xe9.wav\n", "not UTF-8"),
        ("bad.jsonl", '{"path": 1}\n', r"bad.jsonl:1: no 'path' \(keys: path\)"),
        ("torn.jsonl", '{"path": "a.wav"}\n{"path"\n', "torn.jsonl:2 is damaged: no JSON"),
        ("array.json", '["a.wav"]\n', "array.json:1: a JSON list"),
        ("narrow.csv", "path,text\na.wav\n", "narrow.csv:2: 2 columns needed"),
        ("other.csv", "name,text\nx,y\n", r"other.csv:2: no 'path' \(keys: name, text\)"),
    ],
)
def test_lists_that_cannot_be_read(folder: Path, name: str, content: str | bytes | None, message: str) -> None:
    if content is not None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        lists.rows(folder / name)
