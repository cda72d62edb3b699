"""The scripts of ``benchmarks/``: each can be run as `make bench` runs it, and the one of conversion does its work."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _scripts_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_benchmark_needs_an_argument(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import argparse

    class Parsed(Exception):
        """What the script would go on with."""

    real = argparse.ArgumentParser.parse_args

    def parse(parser: argparse.ArgumentParser, *_: Any) -> None:
        real(parser, [])
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    script = _script(name)
    if "argparse" in vars(script):
        with pytest.raises(Parsed):
            script.main()
    assert callable(script.main)


def test_every_benchmark_is_in_the_table() -> None:
    told = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in SCRIPTS if f"`{name}.py" not in told] == []


def test_conversion_is_measured(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script = _script("conversion")
    source = script.repeated(script.recordings(None, ["ada"]), 1.0, tmp_path / "source.wav")
    voices = script.recordings(None, ["dan", "eric"])
    reference = script.repeated(voices, 3.0, tmp_path / "reference.wav")
    assert len(voices) == 2
    assert script.recordings(tmp_path, []) == [reference, source]
    found = script.one("uniform", source, reference, 1, 1)
    assert found["seconds"] == 1.0
    assert 200 < found["peak_megabytes"] < 20_000
    assert found["convert_times_real_time"] > 0
    # a short recording goes round until there is enough
    longer = script.repeated([source], 2.5, tmp_path / "longer.wav")
    assert script.one("uniform", longer, reference, 1, 1)["seconds"] == 2.5
    # from file to file; what the command prints would be taken for the numbers
    found = script.from_file_to_file("uniform", source, reference, 1)
    assert found["seconds"] == 1.0
    assert found["peak_megabytes"] > 100
    assert capfd.readouterr().out == ""


def test_the_first_sign_comes_before_the_end(tmp_path: Path) -> None:
    pytest.importorskip("pty", reason="no terminals of this kind here")
    script = _script("startup")
    code = "import sys, time; assert sys.stderr.isatty(); print('here', flush=True); time.sleep(0.5); sys.exit({})"
    processor, first, whole, end = script.run([sys.executable, "-c", code.format(0)], tmp_path)
    assert 0 <= processor <= whole + 0.02
    assert 0 < first < end - 0.4
    with pytest.raises(SystemExit, match="ended with 3: here"):
        script.run([sys.executable, "-c", code.format(3)], tmp_path)


def test_recordings_beyond_full_scale_are_repeated_softer(tmp_path: Path) -> None:
    from speechssl import audio
    from speechssl.signals import Waveform

    rows = [torch.full((8000,), 0.5), torch.full((8000,), 1.5)]  # as lossy coding leaves them
    for number, samples in enumerate(rows):
        audio.write(tmp_path / f"{number}.wav", Waveform(samples, 16_000), subtype="FLOAT")
    paths = [tmp_path / f"{number}.wav" for number in range(2)]
    found = audio.read(_script("conversion").repeated(paths, 2.5, tmp_path / "long.wav")).samples
    assert found.shape == (40_000,)
    assert found[0].item() == pytest.approx(1 / 3, abs=1e-3)
    assert found[8000:16_000].max().item() == pytest.approx(1.0, abs=1e-3)
    assert torch.equal(found[:8000], found[16_000:24_000])
