"""What the tests of verification share: a small model with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from speechssl.verification.embedders import log_mel
from speechssl.verification.embedders.ecapa import Ecapa

CONFIG = {"input_dim": 160, "channels": 16, "dim": 12, "bottleneck": 8, "scale": 4, "padding": "zeros"}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedder with random weights: voices differ enough for it to tell the clips apart somewhat."""
    torch.manual_seed(0)
    network = Ecapa(**CONFIG).eval()
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    cohort = torch.nn.functional.normalize(torch.randn(20, 12), dim=1)
    return log_mel.write(
        path, network, name="small", config=CONFIG, scale=3.0, provenance={}, licence="MIT", cohort=cohort
    )
