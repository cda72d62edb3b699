"""The scripts that write pages, the notebook and the pictures."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from docs_pages import PAGES, ROOT, SOUNDS, blocks

SCRIPTS = ROOT / "docs" / "scripts"


def test_the_notebook_holds_every_block_of_its_page_in_order() -> None:
    made = json.loads(runpy.run_path(str(SCRIPTS / "notebook.py"))["notebook"]())
    cells = ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "code"]
    wanted = blocks(PAGES["tutorials/units.md"], "python", "sh")
    assert len(cells) == len(wanted) >= 5
    for cell, block in zip(cells, wanted, strict=True):
        assert cell.replace("!speechssl", "speechssl") == block.text.rstrip("\n")
        assert cell.startswith("!") is (block.language == "sh")
    assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])


def test_an_endpoint_is_written_with_its_fields_and_defaults() -> None:
    section = runpy.run_path(str(SCRIPTS / "endpoints.py"))["section"]
    field = {"parameter_name": "k", "label": "a | b", "python_type": {"type": "float"}, "parameter_has_default": True}
    written = section(
        "/convert",
        {
            "description": "Say it.",
            "parameters": [{**field, "parameter_default": 4}, {**field, "parameter_has_default": False}],
            "returns": [{"label": "recording"}, {"label": "facts"}],
        },
    )
    assert "| `k` | a \\| b | float | `4` |" in written
    assert "| `k` | a \\| b | float | needed |" in written
    assert written.startswith("## /convert\n\nSay it.")
    assert "Returns: recording; facts." in written


def test_every_packaged_file_and_bundle_has_its_row() -> None:
    import speechssl

    written = runpy.run_path(str(SCRIPTS / "models.py"))["page"]()
    encoder = next(line for line in written.splitlines() if "`tiny/encoder.safetensors`" in line)
    path = speechssl.checkpoints.PACKAGED / "tiny/encoder.safetensors"
    assert f"| encoder | {path.stat().st_size / 1e6:.1f} MB |" in encoder
    assert "| hears 16000 Hz |" in encoder
    assert len(list(path.parents[1].rglob("*.safetensors"))) == written.count(".safetensors` |")
    for name, bundle in speechssl.BUNDLES.items():
        assert f"| `{name}` | {bundle.layer or 'of its file'} | {bundle.vocoder} |" in written


def test_a_spectrogram_has_the_loud_frequency_where_it_is(tmp_path: Path) -> None:
    import numpy as np
    import torch
    from PIL import Image

    from speechssl import Waveform

    tone = Waveform(torch.sin(2 * torch.pi * 2000 * torch.arange(16_000) / 16_000) / 2, 16_000)
    SOUNDS["picture"](tmp_path / "tone.png", tone)
    grey = np.asarray(Image.open(tmp_path / "tone.png"))
    # 0 Hz is the last row, 8 kHz the first; dark is loud
    assert abs(grey.mean(axis=1).argmin() - 0.75 * len(grey)) < 4


def test_references_are_spoiled_as_the_page_says() -> None:
    import torch

    from speechssl import Waveform

    speech = Waveform(torch.randn(64_000, generator=torch.Generator().manual_seed(1)) / 4, 16_000)
    assert SOUNDS["spoiled"](speech, 3.0, None, None).seconds == 3.0
    assert float(SOUNDS["spoiled"](speech, None, None, 0.1).samples.abs().max()) <= 0.1 + 1e-6
    quiet = Waveform(speech.samples / 4, 16_000)
    noise = SOUNDS["spoiled"](quiet, None, 10.0, None).samples - quiet.samples
    ratio = 10 * (quiet.samples.square().mean() / noise.square().mean()).log10()
    assert abs(float(ratio) - 10) < 0.2


def test_a_bar_in_an_option_is_shown_without_a_backslash() -> None:
    page = runpy.run_path(str(SCRIPTS / "commands.py"))["pages"]()["reference/commands/convert.md"]
    assert "| `--output FILE|DIR`, `-o FILE|DIR` |" in page  # tables do not part code
