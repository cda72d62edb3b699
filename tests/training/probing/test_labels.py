"""Labels of recordings, and splits that leave no speaker on both sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechssl.errors import InputError
from speechssl.training.probing.labels import Labelled, divide, draw, fewer, read


def _table(folder: Path, *lines: str) -> Path:
    path = folder / "list.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_labels_come_from_folders_columns_and_patterns(tmp_path: Path) -> None:
    table = _table(tmp_path, "path,word,speaker,split", "cat/a_1.wav,cat,a,train", "dog/b_2.wav,dog,b,test")
    assert read([table]) == [
        Labelled("cat/a_1.wav", str(tmp_path / "cat/a_1.wav"), "cat", "a", "train"),
        Labelled("dog/b_2.wav", str(tmp_path / "dog/b_2.wav"), "dog", "b", "test"),
    ]
    assert [one.label for one in read([table], "word")] == ["cat", "dog"]
    assert [one.label for one in read([table], r"_(\d)\.")] == ["1", "2"]
    # a speaker cannot be told apart from others without being in both parts
    assert [(one.label, one.group) for one in read([table], "speaker")] == [("a", ""), ("b", "")]
    assert [one.group for one in read([table], "word", speaker=r"(\w)_")] == ["a", "b"]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("sex", "list.csv.*|no column 'sex'.*columns there: speaker, word"),
        ("(", "no regular expression"),
        (r"(x)_", "gives no label"),
        (r"_\d(?=\.)()*?(", "no regular expression"),
        ("speaker", "empty 'speaker'"),
    ],
)
def test_labels_that_are_not_there_are_named(tmp_path: Path, label: str, message: str) -> None:
    table = _table(tmp_path, "path,word,speaker", "cat/a_1.wav,cat,a", "dog/b_2.wav,dog,")
    with pytest.raises(InputError, match=message):
        read([table], label)


def test_a_recording_in_no_subfolder_has_no_label(tmp_path: Path) -> None:
    (tmp_path / "one.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"one.wav lies in no subfolder"):
        read([tmp_path])


def _made(*rows: tuple[str, str, str]) -> list[Labelled]:
    return [Labelled(f"{number}.wav", f"{number}.wav", *row) for number, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "", ""), ("a", "", "")], "one label, 'a'"),
        ([("a", "s", ""), ("a", "t", ""), ("b", "s", "")], "class 'b' has 1 speaker;"),
        ([("a", "", ""), ("a", "", ""), ("b", "", "")], "class 'b' has 1 recording;"),
        ([("a", "", "train"), ("b", "", "train"), ("c", "", "test")], "'c' is in the test alone"),
        ([("a", "", "train"), ("b", "", "train")], "no recording is of the part 'test'"),
        ([("a", "", "train"), ("a", "", "train"), ("b", "", "dev"), ("a", "", "test")], "train on have one label"),
    ],
)
def test_labels_that_cannot_be_divided_are_named(rows: list[tuple[str, str, str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        divide(_made(*rows))


def test_the_split_of_a_manifest_is_kept_and_other_parts_are_left_out() -> None:
    rows = [("a", "", "train"), ("b", "", "train"), ("b", "", "dev"), ("a", "", "test")]
    train, test = divide(_made(*rows))
    assert (train.tolist(), test.tolist()) == ([0, 1], [3])


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("123456")), min_size=4, max_size=40), st.integers(0, 9)
)
def test_no_speaker_and_no_recording_is_on_both_sides(rows: list[tuple[str, str]], seed: int) -> None:
    labels, groups = np.array([label for label, _ in rows]), [group for _, group in rows]
    try:
        train, test = draw(labels, groups, seed=seed)
    except InputError:
        return
    assert not {groups[i] for i in train} & {groups[i] for i in test}
    assert sorted([*train, *test]) == list(range(len(rows)))
    assert set(labels[train]) == set(labels[test]) == set(labels)


@given(st.integers(2, 12))
def test_fewer_labels_are_spread_over_the_classes(count: int) -> None:
    made = _made(*[("a", "", "")] * 10, *[("b", "", "")] * 3)
    kept = fewer(made, np.arange(13), count)
    labels = [made[number].label for number in kept]
    assert len(set(kept.tolist())) == count
    assert labels.count("b") == min(3, count // 2)
    with pytest.raises(InputError, match="1 labels for 2 classes"):
        fewer(made, np.arange(13), 1)
