"""Every block of code on the site: run, or where that takes minutes, a network or a service, parsed.

``sh`` and ``python`` blocks run, in order, in one folder for each page. ``console`` lines after ``$`` are checked
against the command line, the targets of make and the options of scripts; ``py`` is compiled and its names are looked
up.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from docs_pages import COMMANDS, ENDPOINTS, PAGES, READ_FIRST, ROOT, Block, blocks

import speechssl
from speechssl import cli
from speechssl.conversion import bundles
from speechssl.conversion.voice_converter import VoiceConverter

EVERY = {**PAGES, **READ_FIRST}
RUN, PARSED = ("sh", "python"), ("console", "py")
PLAIN = ("text", "", "json", "yaml", "ini", "nginx", "dockerfile", "csv", "html")
OTHERS = {"pip", "cd", "git", "curl", "docker", "apt-get", "sudo", "systemctl", "ray", "rsync", "rm", "python", "npm",
          "nvidia-smi", "P", "ID", "jupyter", "ffmpeg", "source"}  # fmt: skip
BELOW = dict(COMMANDS["commands"]())


def test_every_block_names_a_language_that_is_checked() -> None:
    for page, text in EVERY.items():
        assert {block.language for block in blocks(text)} <= {*RUN, *PARSED, *PLAIN}, page
    assert sum(len(blocks(text, *RUN)) for text in EVERY.values()) >= 20


@pytest.fixture(scope="module")
def loaded() -> Callable[..., VoiceConverter]:
    """``load_bundle``, with each model read once for all pages."""
    return functools.cache(bundles.load_bundle)


@pytest.mark.usefixtures("imported_once")
@pytest.mark.parametrize("page", [page for page, text in EVERY.items() if blocks(text, *RUN)])
def test_the_blocks_run(
    page: str,
    loaded: Callable[..., VoiceConverter],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    speech: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bundles, "load_bundle", loaded)
    for name in ("VOICES", "SPEAKERS", "KEY", "CACHE"):
        monkeypatch.setenv(f"SPEECHSSL_{name}", str(tmp_path / "home" / name.lower()))
    (tmp_path / "recordings").mkdir()
    for name, kind in {"talk": "source", "ada1": "reference", "ada2": "other", "recordings/a": "source"}.items():
        shutil.copy(speech[kind], tmp_path / f"{name}.wav")
    names: dict[str, object] = {}
    for block in blocks(EVERY[page], *RUN):
        if block.language == "python":
            exec(compile(block.text, page, "exec"), names)
            continue
        for line in _lines(block.text):
            if line.startswith("make "):
                _check_make(line)
                continue
            words = shlex.split(line, comments=True)
            if words:
                assert words[0] == "speechssl", (page, line)
                code = cli.run(words[1:])
                assert code == 0, (line, capsys.readouterr().err)


def _lines(text: str) -> list[str]:
    return text.replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("page", [page for page, text in EVERY.items() if blocks(text, "console")])
def test_the_commands_that_are_not_run_can_be_parsed(page: str) -> None:
    for block in blocks(EVERY[page], "console"):
        lines = [line[2:] for line in _lines(block.text) if line.startswith("$ ")]
        assert lines, (page, block.text)
        for line in lines:
            _check(page, line.split(" # ")[0].split("   #")[0])


def _check(page: str, line: str) -> None:
    line = re.sub(r"^(?:[A-Z_]+=(?:'[^']*'|\S)+ )+(?=\w)", "", line)
    first = re.match(r"[\w./-]+", line)
    assert first, (page, line)
    if first[0] == "make":
        _check_make(line)
    elif first[0] in ("speechssl", ".venv/bin/speechssl"):
        words = shlex.split(re.split(r" [<>|]|&&| 2>", line)[0])[1:]
        command = max((known for known in BELOW if known == tuple(words[: len(known)])), key=len)
        assert BELOW[command].make_context("speechssl", cli._spread(words[len(command) :])).params
    elif first[0] in ("python", ".venv/bin/python") and ".py" in line:
        words = shlex.split(line)
        script = ROOT / words[1]
        assert script.exists(), (page, line)
        text = '"--help"' + "".join(one.read_text(encoding="utf-8") for one in script.parent.glob("*.py"))
        text += (ROOT / "speechssl/training/script.py").read_text(encoding="utf-8")
        unknown = [word for word in words[2:] if word.startswith("--") and f'"{word.split("=")[0]}"' not in text]
        assert not unknown, (page, line, unknown)
    else:
        assert first[0] in OTHERS, (page, line)


def _check_make(line: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    wanted = shlex.split(line, comments=True)[1:]
    assert set(wanted) <= set(targets), line


@pytest.mark.parametrize("page", [page for page, text in EVERY.items() if blocks(text, "py")])
def test_the_python_that_is_not_run_compiles_and_uses_names_that_exist(page: str) -> None:
    for block in blocks(EVERY[page], "py"):
        compile(block.text, page, "exec")
        assert set(re.findall(r"\bspeechssl\.(\w+)", block.text)) <= {*speechssl.__all__, "app"}


def test_calls_of_endpoints_give_the_fields_that_the_service_asks_for() -> None:
    endpoints = ENDPOINTS["schema"]()
    calls = [
        node
        for text in PAGES.values()
        for block in blocks(text, "py")
        for node in ast.walk(ast.parse(block.text))
        if isinstance(node, ast.Call) and any(one.arg == "api_name" for one in node.keywords)
    ]
    assert len(calls) >= 2
    for call in calls:
        given = {str(one.arg): one.value for one in call.keywords}
        name = ast.literal_eval(given.pop("api_name"))
        fields = {one["parameter_name"]: one["parameter_has_default"] for one in endpoints[name]["parameters"]}
        assert set(given) <= set(fields), name
        assert {field for field, may_be_left_out in fields.items() if not may_be_left_out} <= set(given), name


def test_settings_on_the_pages_are_well_formed() -> None:
    readers = {"json": json.loads, "yaml": yaml.safe_load}
    found: list[Block] = [block for text in EVERY.values() for block in blocks(text, *readers)]
    for block in found:
        assert readers[block.language](block.text)


def test_the_make_targets_exist() -> None:
    answer = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in answer.stdout.splitlines()}
    assert listed >= {"demo", "test", "check", "bench", "docs", "docs-serve", "help"}
    assert "make check docs test" in (ROOT / ".ci/run").read_text()


def test_the_root_of_the_command_line_knows_the_commands_of_the_pages() -> None:
    assert set(cli.command().commands) == {names[0] for names in BELOW}
