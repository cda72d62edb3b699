"""The worked examples run."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from speechssl.errors import InputError

ROOT = Path(__file__).parents[2]


def recipe(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "recipes" / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_small_gpt_knows_more_than_counts(tmp_path: Path) -> None:
    found = recipe("unit_lm/train.py").main(["--toy", "--results", str(tmp_path / "R.md")])
    assert found["gpt"] < found["trigram"] < found["unigram"]
    assert f"{found['gpt']:.3f}" in (tmp_path / "R.md").read_text()


def test_too_few_utterances_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    module = recipe("unit_lm/train.py")
    monkeypatch.setattr(module, "read", lambda _: ([[1, 2, 3]], ["0"], 6, "none"))
    with pytest.raises(InputError, match="holds 1 utterances"):
        module.main(["units"])


def test_counts_are_a_distribution_and_uniform_units_cost_what_they_must() -> None:
    module = recipe("unit_lm/train.py")
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 5, 30).tolist() for _ in range(20)]
    for order in (1, 2, 3):
        model = module.Counts(sequences, 5, order)
        for context in ((5, 5), (5, 0), (1, 2), (4, 4)):
            total = sum(model.probability((*context, unit)[-max(order, 1) :]) for unit in range(6))
            assert total == pytest.approx(1)
    unigram = module.Counts(sequences, 5, 1)
    assert unigram.bits(sequences) == pytest.approx(math.log2(5), abs=0.3)
