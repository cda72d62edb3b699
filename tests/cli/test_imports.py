"""What a command imports: nothing heavy that its task does not use, because a person waits for every import."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from speechssl.checkpoints import PACKAGED

CLIPS = PACKAGED / "clips"
# seconds each; some are imported by others, and all are named so that a message says which came along
HEAVY = frozenset({
    "torch", "torch._dynamo", "torch._inductor", "torch.distributed.tensor", "sympy", "torchaudio", "transformers",
    "huggingface_hub", "accelerate", "scipy", "sklearn", "librosa", "numba", "pandas", "pyarrow", "matplotlib",
    "gradio", "fastapi", "uvicorn", "datasets", "ray",
})  # fmt: skip
PROGRAM = """
import sys
from speechssl.cli import run
code = run(sys.argv[1:])
print("imported:", *sys.modules)
sys.exit(code)
"""
COMMANDS = {
    "": (["--help"], set()),
    "voice list": (["voice", "list"], set()),
    "convert": (
        ["convert", f"{CLIPS}/ada_sentence.opus", "--reference", f"{CLIPS}/dan_sentence.opus", "-o", "out.wav"],
        {"torch"},
    ),
    "say": (["say", "The train leaves.", "--voice", "dan", "-o", "out.wav"], {"torch"}),
    "verify": (["verify", f"{CLIPS}/ada_reference.opus", f"{CLIPS}/ada_sentence.opus"], {"torch"}),
    "units encode": (["units", "encode", f"{CLIPS}/ada_sentence.opus", "-o", "units"], {"torch"}),
    "features": (["features", f"{CLIPS}/ada_sentence.opus", "-o", "features"], {"torch"}),
}


# versions before 2.13 import it to load weights
OF_TORCH = {"sympy"} if tuple(map(int, version("torch").split(".")[:2])) < (2, 13) else set()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_nothing_heavy_that_it_does_not_use(command: str, tmp_path: Path) -> None:
    words, allowed = COMMANDS[command]
    environment = {**os.environ, "SPEECHSSL_VOICES": str(tmp_path / "voices")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    imported = done.stdout.rpartition("imported:")[2].split()
    assert done.returncode == 0, done.stderr
    assert HEAVY.intersection(imported) - allowed - OF_TORCH == set()
