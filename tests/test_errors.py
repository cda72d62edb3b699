"""One line for every library that cannot be loaded, and the main path without torchaudio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from speechssl import checkpoints, errors
from speechssl.errors import InputError

CLIPS = sorted((checkpoints.PACKAGED / "clips").glob("*.opus"))
# a library found on the path whose import fails: absent, or a binary that does not load
BROKEN = """
import importlib.abc, importlib.machinery, sys
class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {names!r}:
            return None
        if {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return importlib.machinery.ModuleSpec(name, self)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        exec(compile('raise OSError("Could not load this library: lib.so")', "lib", "exec"), module.__dict__)
sys.meta_path.insert(0, Broken())
import itertools
from speechssl import cli
# one command, or several between semicolons
for between, words in itertools.groupby(sys.argv[1:], ";".__eq__):
    if not between and (code := cli.run(list(words))):
        sys.exit(code)
"""


def program(
    tmp_path: Path, *arguments: object, without: str = "torchaudio", absent: bool = False
) -> subprocess.CompletedProcess[str]:
    code = BROKEN.format(names={without}, absent=absent)
    environment = {**os.environ, "SPEECHSSL_VOICES": str(tmp_path / "voices"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)


def refusal(answer: subprocess.CompletedProcess[str]) -> str:
    assert answer.returncode == 2, answer.stderr
    lines = [line for line in answer.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, answer.stderr
    return lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("absent", [False, True], ids=["broken", "absent"])
def test_the_main_path_runs_without_torchaudio(tmp_path: Path, absent: bool) -> None:
    first, second = CLIPS[0], CLIPS[-1]
    answer = program(
        tmp_path,
        *("convert", first, "--reference", second, "--output", "converted.wav"),
        *(";", "say", "Good morning.", "--reference", second, "--output", "said.wav"),
        *(";", "units", "encode", first, "--output", "units", "--codebook", "tiny/100"),
        *(";", "verify", first, second),
        absent=absent,
    )
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "converted.wav").stat().st_size > 10_000
    assert (tmp_path / "said.wav").stat().st_size > 10_000
    assert (tmp_path / "units" / "meta.json").exists()
    assert answer.stdout


def test_a_torchaudio_bundle_says_what_is_missing(tmp_path: Path) -> None:
    command = ("features", CLIPS[0], "-o", "f.safetensors", "--model", "torchaudio:WAVLM_LARGE", "--layer", 6)
    said = refusal(program(tmp_path, *command))
    assert "torchaudio:WAVLM_LARGE: torchaudio" in said
    assert "pip install" in said
    assert "configuration" not in said


def test_a_library_that_does_not_load_is_no_damaged_checkpoint(tmp_path: Path) -> None:
    command = ("features", CLIPS[0], "-o", "f.safetensors")
    said = refusal(program(tmp_path, *command, without="safetensors"))
    assert "safetensors " in said
    assert "cannot be loaded beside torch" in said
    assert "encoder.safetensors" not in said


@pytest.mark.slow
def test_without_torch_help_and_doctor_answer_and_the_rest_says_so(tmp_path: Path) -> None:
    assert program(tmp_path, "--help", without="torch", absent=True).returncode == 0
    said = refusal(program(tmp_path, "convert", CLIPS[0], "-r", CLIPS[1], "-o", "c.wav", without="torch", absent=True))
    assert "torch" in said
    assert "pip install" in said
    answer = program(tmp_path, "doctor", without="torch", absent=True)
    assert "packages: torch" in answer.stdout, answer.stderr


def test_parquet_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    command = ("units", "encode", CLIPS[0], "--output", "units", "--format", "parquet")
    said = refusal(program(tmp_path, *command, without="pyarrow", absent=True))
    assert "pip install 'speechssl[units]'" in said
    assert not (tmp_path / "units").exists()


@pytest.mark.parametrize(
    ("torch", "wanted"),
    [
        ("2.8.0", ()),
        ("2.9.1", ("2.9.0", "2.9.1", "2.10.0")),
        ("2.10.0+cu128", ("2.9.0", "2.9.1", "2.10.0")),
        ("2.11.0", ("2.11.0",)),
        ("2.12.1", ("2.11.0",)),
        ("2.13.0+cpu", ("2.11.1", "2.11.0")),
        ("2.15.0", ("2.11.1", "2.11.0")),
        ("2.16.0", ()),
    ],
)
def test_pairs_of_torch_and_torchaudio(torch: str, wanted: tuple[str, ...]) -> None:
    assert errors.torchaudio_beside(torch) == wanted


def test_the_torchaudio_that_is_advised_is_one_that_the_package_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "version", lambda name: "2.13.0+cpu")
    assert "'torchaudio==2.11.0' --index-url https://download.pytorch.org/whl/cpu" in errors.install_command(
        "torchaudio"
    )


def test_an_extra_that_is_absent_is_named() -> None:
    with pytest.raises(InputError, match=r"alignment: no_such_module is not installed; run: pip install 'speechssl\["):
        errors.require("no_such_module", purpose="alignment", extra="recipes")
    with pytest.raises(SystemExit, match=r"pip install 'speechssl\[recipes\]'"):
        errors.require_for_recipe("no_such_module")


def test_the_first_line_of_an_error() -> None:
    assert errors.first_line(ValueError("no such file\nat line 3")) == "no such file"
    assert errors.first_line(KeyError()) == "KeyError"
    assert errors.first_line(ValueError("x" * 999)) == "x" * 200


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("two lines\n  become one"), "error: two lines become one"),
        (SystemExit("cache: no utterances"), "error: cache: no utterances"),
        (
            FileNotFoundError(2, "No such file or directory", "cache/index.json"),
            "error: cache/index.json: No such file",
        ),
        (ModuleNotFoundError("No module named 'gruut'", name="gruut"), "error: this recipe: gruut"),
    ],
)
def test_a_recipe_ends_in_one_line(error: BaseException, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as left:
        errors.run_recipe(main)
    assert left.value.code == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1
    assert printed[0].startswith(line)


def test_faults_of_a_recipe_itself_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        errors.run_recipe(lambda: 1 / 0)
    with pytest.raises(SystemExit) as left:
        errors.run_recipe(lambda: sys.exit(143))
    assert left.value.code == 143
    errors.run_recipe(lambda: None)


def test_a_message_keeps_what_happened_and_what_to_do_however_long_a_name_is() -> None:
    text = str(InputError(f"no such file: {'x' * 5000}; give another name"))
    assert len(text) < 2100
    assert text.startswith("no such file: xxx")
    assert text.endswith("; give another name")
    assert str(InputError("short")) == "short"
