"""The network from phones to keys: durations, padding, and that it learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechssl.errors import CheckpointError, InputError
from speechssl.synthesis import model as models
from speechssl.synthesis.front_end import START, FrontEnd, tokens
from speechssl.synthesis.model import TextModel, contour
from speechssl.synthesis.network import Lengths, NetworkConfig, TextToKeys, positions, repeat_index, sampled_durations
from speechssl.training.objectives.text_to_keys import TextToKeysLoss

SMALL = NetworkConfig(7, 6, width=16, hidden=24, encoder_layers=2, decoder_layers=2, dropout=0.0)


def test_frames_are_the_tokens_repeated() -> None:
    owners, mask = repeat_index(torch.tensor([[2, 0, 3], [1, 1, 1]]))
    assert owners[0].tolist() == [0, 0, 2, 2, 2]
    assert owners[1, :3].tolist() == [0, 1, 2]
    assert mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]


def test_positions_run_from_start_to_end() -> None:
    durations = torch.tensor([[2, 4]])
    owners, mask = repeat_index(durations)
    place = positions(durations, owners, mask)[0]
    assert place[:, 0].tolist() == pytest.approx([0.25, 0.75, 0.125, 0.375, 0.625, 0.875])
    assert (place[:, 0] + place[:, 1]).tolist() == pytest.approx([1.0] * 6)


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    network = TextToKeys(SMALL).eval()
    symbols, stresses = torch.randint(0, 7, (2, 9)), torch.randint(0, 3, (2, 9))
    durations = torch.randint(1, 5, (2, 9))
    there = torch.ones(2, 9, dtype=torch.bool)
    there[1, 6:] = False
    durations[1, 6:] = 0
    hidden, lengths = network.encode(symbols, stresses, there)
    frames, _ = network.decode(hidden, durations)
    alone, alone_lengths = network.encode(symbols[1:, :6], stresses[1:, :6], there[1:, :6])
    expected, mask = network.decode(alone, durations[1:, :6])
    assert torch.allclose(lengths.mean[1, :6], alone_lengths.mean[0], atol=1e-5)
    assert torch.allclose(frames.keys[1, : mask.shape[1]], expected.keys[0], atol=1e-5)


@given(st.floats(0.3, 3.5), st.lists(st.floats(0.0, 2.0), min_size=20, max_size=60))
def test_a_sentence_at_another_speed_lasts_as_much_less(speed: float, logs: list[float]) -> None:
    mean = torch.tensor([logs]) + 1.3  # long enough that no sound is held at one frame
    lengths = Lengths(mean, torch.zeros_like(mean), torch.zeros_like(mean))
    borders = torch.zeros(mean.shape, dtype=torch.bool)
    frames = int(sampled_durations(lengths, borders, speed=speed).sum())
    assert frames == pytest.approx(float(mean.exp().sum()) / speed, abs=0.51)


def test_pauses_are_left_out_where_they_are_unlikely() -> None:
    mean = torch.full((1, 4), 1.5)
    silent = torch.tensor([[3.0, 3.0, -3.0, 3.0]])
    borders = torch.tensor([[False, True, True, False]])
    durations = sampled_durations(Lengths(mean, mean * 0, silent), borders)[0]
    assert durations[1] == 0
    assert (durations[[0, 2, 3]] >= 4).all()


def test_variation_follows_its_seed() -> None:
    mean = torch.full((1, 30), 2.0)
    lengths, borders = Lengths(mean, mean * 0, mean * 0 - 1), torch.zeros(1, 30, dtype=torch.bool)

    def sample(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        return [int(n) for n in sampled_durations(lengths, borders, variation=0.5, generator=generator)[0]]

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_contour_is_linear_between_frames_and_silent_where_unvoiced() -> None:
    log_f0 = torch.tensor([150.0, 200.0, 250.0, 250.0]).log()
    f0 = contour(log_f0, torch.tensor([2.0, 2.0, 2.0, -6.0]), 50.0)
    assert len(f0) == 17
    # frame i lies at 12.5 + 20 i ms, so 22.5 ms is half way, in semitones
    assert float((f0[4] * f0[5]).sqrt()) == pytest.approx((150 * 200) ** 0.5, rel=1e-4)
    assert f0[-3:].tolist() == [0.0, 0.0, 0.0]
    assert (f0[:10] > 0).all()
    assert contour(log_f0, torch.full((4,), -1.0), 50.0).tolist() == [0.0] * 17


def test_what_the_noise_of_consonants_sings_is_not_heard() -> None:
    hertz = torch.tensor([160.0] * 5 + [420.0, 470.0] + [160.0] * 5 + [900.0] * 2 + [160.0] * 3)
    voiced = torch.tensor([6.0] * 5 + [1.0, 2.0] + [6.0] * 5 + [-4.0] * 2 + [6.0] * 3)
    f0 = contour(hertz.log(), voiced, 50.0)
    assert f0[f0 > 0].tolist() == pytest.approx([160.0] * int((f0 > 0).sum()))
    assert (f0[21:28] == 0).all()  # 102.5 to 137.5 ms: frames 5 and 6
    assert (f0[50:56] == 0).all()


def test_it_learns_a_sentence_by_heart() -> None:
    torch.manual_seed(0)
    network = TextToKeys(SMALL)
    loss = TextToKeysLoss(network)
    durations = torch.tensor([[2, 3, 0, 4, 2]])
    batch = {
        "symbols": torch.tensor([[0, 5, 1, 6, 2]]),
        "stresses": torch.tensor([[0, 1, 0, 2, 0]]),
        "durations": durations,
        "borders": torch.tensor([[True, False, True, False, True]]),
        "keys": torch.randn(1, 11, 6),
        "pitch": torch.stack([torch.linspace(4.8, 5.2, 11), torch.ones(11)], dim=-1)[None],
    }
    optimizer = torch.optim.Adam(network.parameters(), 2e-2)
    before = loss.losses(batch)
    for _ in range(80):
        losses = loss.losses(batch)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
    assert losses["keys"] < 0.3 * before["keys"]
    assert losses["cosine"] < 0.15
    network.eval()
    _, lengths = network.encode(batch["symbols"], batch["stresses"], durations >= 0)
    assert sampled_durations(lengths, batch["borders"]).tolist() == durations.tolist()


def test_a_model_comes_back_as_it_was_saved(text_model: TextModel, tmp_path: Path) -> None:
    once = models.load(models.save(tmp_path / "once.safetensors", text_model, {"name": "x", "licence": "MIT"}))
    twice = models.load(models.save(tmp_path / "twice.safetensors", once, {"name": "x", "licence": "MIT"}))
    (words,) = FrontEnd().sentences("A cat sat.")
    one, two = (model.predict(tokens(words)) for model in (once, twice))
    assert once.symbols == text_model.symbols
    for before, after in zip(text_model.network.state_dict().values(), once.network.state_dict().values(), strict=True):
        assert torch.allclose(before, after, rtol=1e-3, atol=1e-6)  # float16
    assert one.durations.tolist() == two.durations.tolist()
    assert torch.equal(one.keys.frames, two.keys.frames)


def test_a_sound_it_was_never_taught_is_said_by_another(text_model: TextModel) -> None:
    (words,) = FrontEnd().sentences("vision")  # ʒ is not among its symbols
    found = tokens(words)
    assert "ʒ" in found.symbols
    assert len(text_model.predict(found).durations) == len(found.symbols)


def test_files_that_are_no_text_model(encoder_file: Path) -> None:
    with pytest.raises(CheckpointError, match="'synthesizer' is needed"):
        models.load(encoder_file)


def test_symbols_must_be_those_of_the_network() -> None:
    with pytest.raises(InputError, match="7 needed"):
        TextModel(TextToKeys(SMALL), [START, "a"], origin="x", frame_rate=50.0, language="en-us")
