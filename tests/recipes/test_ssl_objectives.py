"""Objectives of the encoder recipe: every one trains and resumes bit for bit, with terms, on some frames alone."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ssl_recipe import data, train

from speechssl.errors import InputError

RECIPE = "ssl_pretraining"
__all__ = ["data"]
pytest.importorskip("pocketsphinx", reason="the recipes extra is not installed")


def test_frames_heard_alone_are_as_with_the_others_masked_out(recipe: Any) -> None:
    torch.manual_seed(0)
    plain = recipe("network").make_network("toy").eval()
    network, frames = recipe("network").speed_up(copy.deepcopy(plain)), torch.randn(2, 90, 160)
    places = torch.stack([torch.randperm(90)[:40].sort().values for _ in range(2)])
    heard = torch.zeros(2, 90, dtype=torch.long).scatter(1, places, 1)
    with torch.no_grad():
        expected = plain(frames, attention_mask=heard).last_hidden_state
        whole = network(frames).last_hidden_state
        for order in (places, torch.arange(90).expand(2, -1)):
            alone = frames.gather(1, order[..., None].expand(-1, -1, 160))
            got = recipe("network").partly(network, alone, order)
            wanted = expected if order is places else whole
            assert (got - wanted.gather(1, order[..., None].expand_as(got))).abs().max() < 2e-5
        assert torch.equal(network(frames).last_hidden_state, whole)


@pytest.mark.parametrize(
    "objective", ["phones", "hubert", "contrast", "dinosr", "data2vec", "data2vec --partly", "distil"]
)
def test_every_objective_trains_and_resumes_bit_for_bit(
    recipe: Any, data: Path, tmp_path: Path, objective: str
) -> None:
    from safetensors.torch import load_file

    objective, *more = objective.split()
    whole = train(recipe, data, tmp_path / "whole", objective, *more)
    assert [row["step"] for row in whole] == list(range(6))
    # zero seconds: every call makes one step and saves
    for _ in range(6):
        parts = train(recipe, data, tmp_path / "parts", objective, *more, "--max-seconds", "0")
    assert [row["total"] for row in parts] == [row["total"] for row in whole]
    for name in ("objective", "average"):
        one, other = (load_file(tmp_path / run / "last" / f"{name}.safetensors") for run in ("whole", "parts"))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_term_on_the_frames_is_added_to_an_objective(recipe: Any, data: Path, tmp_path: Path) -> None:
    rows = train(recipe, data, tmp_path / "run", "hubert", "--also", "e2mc:0.2", "--also", "variance:1")
    plain = train(recipe, data, tmp_path / "plain", "hubert")
    first, other = rows[0], plain[0]
    assert first["total"] == pytest.approx(other["total"] + 0.2 * first["e2mc"] + first["variance"], rel=1e-4)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["also"] == ["e2mc:0.2", "variance:1"]
    assert "also" not in json.loads((tmp_path / "plain" / "config.json").read_text())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--also", "e2mc"], "NAME:WEIGHT needed, such as e2mc:0.1"),
        (["--partly"], "--partly is for --objective data2vec, not hubert"),
    ],
)
def test_terms_and_parts_that_do_not_exist_are_said(
    recipe: Any, data: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    with pytest.raises((InputError, SystemExit), match=message):
        train(recipe, data, tmp_path / "run", "hubert", *more)
    assert not (tmp_path / "run").exists()


def test_codewords_of_dinosr_stay_in_use(recipe: Any) -> None:
    """Frames of 40 sounds: as many codewords at least must be in use after a while, nearly each on one sound."""
    from speechssl.training.objectives.dinosr import DinoSR

    torch.manual_seed(0)
    network = recipe("network").make_network("toy")
    objective = DinoSR(network, dim=32, input_dim=160, num_codes=64, num_layers=1).train()
    # far from where codewords would be at random, which is what frames of a network are
    sounds = 3 + torch.randn(40, 32)
    for _ in range(60):
        which = torch.randint(40, (500,))
        codes = objective._assign(0, sounds[which] + 0.05 * torch.randn(500, 32))
    assert len(codes.unique()) > 40
    mostly = sum(int(torch.bincount(which[codes == code]).max()) for code in codes.unique())
    assert mostly > 0.85 * len(which)
