"""Trial lists: the formats, what is wrong with them, and lists made for a folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from speechssl.errors import InputError
from speechssl.verification import trials as lists
from speechssl.verification.trials import (
    Trial,
    check_audio,
    files_of,
    find_recordings,
    make_trials,
    read_enrolments,
    read_pairs,
    read_trials,
    session_of,
    speaker_of,
    write_trials,
)

EXPECTED = [Trial("a/1.wav", "a/2.wav", True), Trial("a/1.wav", "b/1.wav", False)]


@pytest.mark.parametrize(
    "text",
    [
        "1 a/1.wav a/2.wav\n0 a/1.wav b/1.wav\n",
        "a/1.wav a/2.wav target\r\n# a remark\r\n\r\na/1.wav b/1.wav nontarget\r\n",
        "test,label,enrolment\na/2.wav,1,a/1.wav\nb/1.wav,nontarget,a/1.wav\n",
        "enrolment;test;label\r\na/1.wav;a/2.wav;1\r\na/1.wav;b/1.wav;0\r\n",
        "Enrolment\tTest\tLabel\na/1.wav\ta/2.wav\ttarget\na/1.wav\tb/1.wav\tnontarget\n",
        "\ufeffenrollment,test,label,note\na/1.wav,a/2.wav,target,x\na/1.wav,b/1.wav,0,y\n",
    ],
)
def test_every_format_gives_the_same_trials(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text, encoding="utf-8")
    assert read_trials(path) == EXPECTED


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_tables_need_no_header(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"1{mark}a/1.wav{mark}a/2.wav\na/1.wav{mark}b/1.wav{mark}nontarget\n")
    assert read_trials(path) == EXPECTED
    path.write_text(f'one.wav{mark}"two words.wav"\r\n1{mark}one.wav{mark}three.wav\r\n')
    found = [
        (str(tmp_path / one), str(tmp_path / two))
        for one, two in (("one.wav", "two words.wav"), ("one.wav", "three.wav"))
    ]
    assert read_pairs(path) == found


def test_written_lists_are_read_back(tmp_path: Path) -> None:
    assert read_trials(write_trials(tmp_path / "list.txt", EXPECTED)) == EXPECTED
    with pytest.raises(InputError, match="holds a space"):
        write_trials(tmp_path / "list.txt", [Trial("a b.wav", "c.wav", True)])
    assert read_trials(tmp_path / "list.txt") == EXPECTED


def test_every_malformed_line_is_named_with_file_and_number(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("1 a.wav b.wav\n1 a.wav\n\n2 a.wav b.wav\na.wav b.wav perhaps\n0 c.wav d.wav\n")
    with pytest.raises(InputError) as caught:
        read_trials(path)
    message = str(caught.value)
    assert "3 malformed trial lines" in message
    for number in (2, 4, 5):
        assert f"list.txt:{number}: " in message
    csv = tmp_path / "list.csv"
    csv.write_text("enrolment,test,label\na.wav,b.wav,1\na.wav,,0\na.wav,b.wav\n")
    with pytest.raises(InputError, match=r"2 malformed.*list\.csv:3.*list\.csv:4"):
        read_trials(csv)
    csv.write_text("from,test,label\na.wav,b.wav,1\n")
    with pytest.raises(InputError, match=r"list\.csv:1"):
        read_trials(csv)


def test_missing_empty_and_binary_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.txt does not exist; a trial list or a folder of speakers needed"):
        read_trials(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    with pytest.raises(InputError, match=r"empty\.txt holds nothing; lines such as '1 a\.wav b\.wav' needed"):
        read_trials(tmp_path / "empty.txt")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_trials(tmp_path / "binary.txt")


def test_enrolments_of_several_recordings(tmp_path: Path) -> None:
    path = tmp_path / "enrolments.txt"
    path.write_text("# as spk2utt\nada a/1.wav a/2.wav\n\nbob b/1.wav\n")
    known = read_enrolments(path)
    assert known == {"ada": ["a/1.wav", "a/2.wav"], "bob": ["b/1.wav"]}
    trials = [Trial("ada", "a/3.wav", True), Trial("b/2.wav", "a/3.wav", False)]
    assert files_of(trials, known) == ["a/1.wav", "a/2.wav", "a/3.wav", "b/2.wav"]
    assert files_of(trials) == ["a/3.wav", "ada", "b/2.wav"]
    with pytest.raises(InputError, match=r"4 of 4 recordings are missing .*a/1\.wav"):
        check_audio(trials, tmp_path, known)
    path.write_text("ada a/1.wav\nbob\nada a/2.wav\n")
    with pytest.raises(InputError, match=r"2 malformed enrolment lines.*enrolments\.txt:2.*enrolments\.txt:3"):
        read_enrolments(path)
    with pytest.raises(InputError, match="a list of enrolments needed"):
        read_enrolments(tmp_path / "none.txt")


def test_missing_audio_is_listed_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    trials = [Trial("a.wav", f"{number:02d}.wav", False) for number in range(30)]
    with pytest.raises(InputError, match="30 of 31 recordings are missing") as caught:
        check_audio(trials, tmp_path)
    assert all(f"{number:02d}.wav" in str(caught.value) for number in range(30))
    check_audio([Trial("a.wav", "a.wav", True)], tmp_path)


def test_speaker_and_session_of_a_path() -> None:
    assert speaker_of("id10270/5r0dWxy17C8/00001.wav") == "id10270"
    assert speaker_of("./ada/1.wav") == "ada"
    assert speaker_of("1272-128104-0000.flac") == "1272"
    assert session_of("id10270/5r0dWxy17C8/00001.wav") == "id10270/5r0dWxy17C8"
    assert session_of("ada/1.wav") == ""


def folder(tmp_path: Path) -> Path:
    for name in ("ada/one/1.wav", "ada/one/2.wav", "ada/two/1.FLAC", "bob/1.wav", "bob/2.wav", "cy/x/1.ogg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("readme.txt", "stray.wav", "ada/notes.txt", "ada/.hidden.wav"):
        (tmp_path / name).touch()
    return tmp_path


def test_list_of_a_folder_is_balanced_and_right(tmp_path: Path) -> None:
    recordings = find_recordings(folder(tmp_path))
    assert {name: len(files) for name, files in recordings.items()} == {"ada": 3, "bob": 2, "cy": 1}
    trials = make_trials(recordings, seed=1)
    assert Counter(trial.is_target for trial in trials) == {True: 4, False: 4}
    assert all((speaker_of(t.enrolment) == speaker_of(t.test)) == t.is_target for t in trials)
    assert all(t.enrolment != t.test for t in trials)
    assert len({frozenset((t.enrolment, t.test)) for t in trials}) == len(trials)
    check_audio(trials, tmp_path)
    assert make_trials(recordings, seed=1) == trials
    assert make_trials(recordings, seed=2) != trials


def test_target_trials_can_be_kept_to_different_sessions(tmp_path: Path) -> None:
    trials = make_trials(find_recordings(folder(tmp_path)), other_sessions=True)
    targets = [(t.enrolment, t.test) for t in trials if t.is_target]
    assert targets == [("ada/one/1.wav", "ada/two/1.FLAC"), ("ada/one/2.wav", "ada/two/1.FLAC")] or targets == [
        ("ada/one/2.wav", "ada/two/1.FLAC"),
        ("ada/one/1.wav", "ada/two/1.FLAC"),
    ]


def test_no_more_non_target_trials_than_there_are() -> None:
    recordings = {"ada": [f"ada/{i}.wav" for i in range(10)], "bob": ["bob/0.wav"]}
    trials = make_trials(recordings)
    assert Counter(trial.is_target for trial in trials) == {True: 45, False: 10}


def test_as_many_non_target_trials_as_asked_for() -> None:
    recordings = {f"s{i}": [f"s{i}/{j}.wav" for j in range(6)] for i in range(10)}
    for asked, made in ((0, 150), (700, 700), (1000, 1000), (10**6, 1620)):
        trials = make_trials(recordings, others=asked, seed=3)
        others = {frozenset((t.enrolment, t.test)) for t in trials if not t.is_target}
        assert Counter(trial.is_target for trial in trials) == {True: 150, False: made}
        assert len(others) == made
        assert all(speaker_of(one) != speaker_of(two) for one, two in map(tuple, others))
        assert make_trials(recordings, others=asked, seed=3) == trials


def test_it_is_said_which_rates_trials_do_not_show() -> None:
    made = lists.all_pairs({f"s{i}": [f"s{i}/{j}.wav" for j in range(6)] for i in range(10)})
    assert lists.others_for(0.01) == 3000
    assert lists.others_for(1e-6) == lists.MOST_TRIALS
    for rate in (None, 0.02):
        assert lists.cannot_promise(rate, made) is None
    said = str(lists.cannot_promise(0.001, made))
    assert said.startswith("a false-alarm rate of 0.1 % is not promised: it rests on 1.6 of the 1620 trials")
    assert "that 10 speakers make; rates from 1.9 % up rest on 30" in said


def test_folders_without_two_speakers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        find_recordings(tmp_path / "none")
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "1.wav").touch()
    with pytest.raises(InputError, match=r"1 speaker\(s\)"):
        find_recordings(tmp_path)
    with pytest.raises(InputError, match="two recordings that may be paired"):
        make_trials({"ada": ["ada/1.wav"], "bob": ["bob/1.wav"]})
    one_session = {"ada": ["ada/1.wav", "ada/2.wav"], "bob": ["bob/1.wav", "bob/2.wav"]}
    with pytest.raises(InputError, match="give more recordings, or leave out --other-sessions"):
        make_trials(one_session, other_sessions=True)
