"""CTC against brute force over alignments, error rates against the table of edits, and a head that learns to spell."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechssl import encoders
from speechssl.errors import InputError
from speechssl.training.probing import labels, recognise, transcripts


def test_the_loss_is_the_sum_over_all_alignments() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(2, 5, 3).log_softmax(-1)
    goals, lengths = [[1, 1], [2]], [5, 3]
    wanted = []
    for row, goal, length in zip(outputs, goals, lengths, strict=True):
        total = 0.0
        for path in itertools.product(range(3), repeat=length):
            # the definition: take repetitions together, then take blanks out
            if [one for one, _ in itertools.groupby(path) if one] == goal:
                total += float(torch.stack([row[n, one] for n, one in enumerate(path)]).sum().exp())
        wanted.append(-np.log(total) / len(goal))
    found = recognise.loss(outputs, torch.tensor(lengths), [torch.tensor(goal) for goal in goals])
    assert float(found) == pytest.approx(np.mean(wanted), rel=1e-5)


@pytest.mark.parametrize(("best", "wanted"), [([0, 0], []), ([1, 1, 0, 1], [1, 1]), ([2, 1, 1, 0, 0, 2], [2, 1, 2])])
def test_repetitions_count_once_and_blanks_not_at_all(best: list[int], wanted: list[int]) -> None:
    assert recognise.decode(np.array(best, np.int64)) == wanted


def test_error_rates_count_edits_over_all_texts() -> None:
    found = recognise.error_rates(["A CAT", "", "ON"], ["A HAT", "NO", "ON"])
    assert found == {"cer": 3 / 9, "wer": 2 / 4}


def test_padding_and_its_neighbours_change_no_output() -> None:
    torch.manual_seed(0)
    head = recognise.Head([6, 3], 4).eval()
    recordings = [[torch.randn(count, 6), torch.randn(count, 3)] for count in (9, 14)]
    together = head(*recognise._padded(recordings))
    for row, one in zip(together, recordings, strict=True):
        assert torch.allclose(row[: len(one[0])], head(*recognise._padded([one]))[0], atol=1e-5)


def test_recordings_of_one_length_share_a_batch_and_none_is_left_out() -> None:
    train, rng = np.arange(100, 150), np.random.default_rng(0)
    lengths = rng.integers(20, 400, 50)
    batches = recognise._batches(train, lengths, rng)
    assert sorted(number for batch in batches for number in batch) == train.tolist()
    padded = sum(len(batch) * max(lengths[number - 100] for number in batch) for batch in batches)
    assert padded < 1.4 * lengths.sum()
    assert recognise._batches(train, lengths, rng) != batches


def _spelled(count: int, noise: float) -> tuple[list[list[np.ndarray]], list[str]]:
    """Texts of three letters, whose frames say the letter in one of two layers."""
    rng = np.random.default_rng(0)
    encoded, texts = [], []
    for _ in range(count):
        text = "".join(rng.choice(list("ab "), 3)).strip() or "a"
        frames = rng.normal(size=(8 * len(text), 6)).astype(np.float32)
        for place, letter in enumerate(text):
            frames[8 * place + 2 : 8 * place + 6, "ab ".index(letter)] += 6 * (1 - noise)
        encoded.append([rng.normal(size=frames.shape).astype(np.float32), frames])
        texts.append(text)
    return encoded, texts


def test_a_number_that_is_far_larger_than_the_others_hides_nothing() -> None:
    encoded, texts = _spelled(80, 0.0)
    for layers in encoded:
        layers[1][:, 5] = 100 + 30 * layers[1][:, 5]
    found = recognise.recognise(encoded, texts, np.arange(60), np.arange(60, 80), steps=80)
    assert found["cer"] < 0.1


def test_a_layer_of_another_width_is_heard() -> None:
    encoded, texts = _spelled(80, 0.0)
    narrow = [[one[0], one[1][:, :3]] for one in encoded]
    found = recognise.recognise(narrow, texts, np.arange(60), np.arange(60, 80), steps=80)
    assert found["cer"] < 0.1
    assert found["weights"][1] > found["weights"][0]


def test_the_head_learns_what_the_frames_say_and_nothing_from_noise() -> None:
    train, test = np.arange(60), np.arange(60, 80)
    found = recognise.recognise(*_spelled(80, 0.0), train, test, steps=80)
    assert found["cer"] < 0.1
    assert found["weights"][1] > found["weights"][0]
    assert len(found["texts"]) == 20
    assert recognise.recognise(*_spelled(80, 1.0), train, test, steps=30)["cer"] > 0.4


def test_units_go_through_an_embedding() -> None:
    encoded, texts = _spelled(80, 0.0)
    units = [[one[1][:, :3].argmax(1)[:, None].astype(np.float32)] for one in encoded]
    found = recognise.recognise(units, texts, np.arange(60), np.arange(60, 80), units=3, steps=120)
    assert found["cer"] < 0.4


def test_unseen_characters_are_named_and_texts_without_room_refused() -> None:
    encoded, texts = _spelled(6, 0.0)
    assert recognise.recognise(encoded, [*texts[:5], "xa"], np.arange(4), np.arange(4, 6), steps=1)["unseen"] == ["x"]
    with pytest.raises(InputError, match="'aaaaaaaaaaaaaaaa' needs 31 frames"):
        recognise.recognise(encoded, ["a" * 16, *texts[1:]], np.arange(4), np.arange(4, 6), steps=1)


def test_a_report_has_every_source_and_names_what_was_left_out(tmp_path: Path) -> None:
    rows, rng = ["path,text,speaker"], np.random.default_rng(0)
    for number in range(8):
        soundfile.write(tmp_path / f"{number}.wav", rng.normal(size=16000) * 0.1, 16000)
        rows.append(f"{number}.wav,ONE  TWO,s{number // 2}")
    (tmp_path / "torn.wav").write_bytes(b"no")
    (tmp_path / "list.csv").write_text("\n".join([*rows, "torn.wav,ONE,s9"]))
    recordings = transcripts.read([tmp_path / "list.csv"])
    assert recordings[0].label == "ONE TWO"
    sources = [transcripts.Source(encoders.load("mfcc"), [0]), transcripts.from_codebook("tiny/100")]
    report = transcripts.probe(recordings, sources, steps=2, minutes=0.06, cache=tmp_path / "cache")
    assert (report["train"], report["test"]) == (3, 2)
    assert report["minutes"] == pytest.approx(0.05)
    assert [one["model"].rpartition("/")[0] for one in report["models"]][1] == "tiny/4"
    assert [Path(file).name for file in report["left_out"]] == ["torn.wav"]
    again = transcripts.probe(recordings, sources, steps=2, minutes=0.06, cache=tmp_path / "cache")
    assert again == report


def test_minutes_that_are_too_few_are_refused(tmp_path: Path) -> None:
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", np.ones(16000) * 0.1, 16000)
    made = [labels.Labelled("", str(tmp_path / f"{number}.wav"), "A", f"s{number}") for number in range(4)]
    with pytest.raises(InputError, match=r"shorter than 0\.01 minutes"):
        labels.divide_texts(made, 0.01)
    train, test = labels.divide_texts(made, 1.0)
    assert sorted([*train, *test]) == [0, 1, 2, 3]
