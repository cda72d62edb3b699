"""Each page with one job has its own tabs and endpoints, and no others; it starts as a hosted space starts it."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")

from speechssl.app.handlers import speaking

APPS = Path(__file__).parents[2] / "apps"
SPEAK = {"Speak"} if speaking.available() else set()
PAGES = {
    "voice_cloning": ({"Convert", "Batch", "Voices", "History"} | SPEAK, "/convert", "/verify"),
    "speaker_verification": ({"Verify", "Compare", "Enrol and identify", "Calibrate"}, "/verify", "/convert"),
    "units_for_llms": ({"Units", "Voices", "History"}, "/units", "/batch"),
}
# Gradio and what it uses warn of their own future
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{warning}")
    for warning in ("DeprecationWarning", "PendingDeprecationWarning", "UserWarning", "ResourceWarning",
                    "pytest.PytestUnraisableExceptionWarning")
]  # fmt: skip


def test_every_entry_point_is_tested() -> None:
    assert {path.stem for path in APPS.glob("*.py")} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_the_page_has_its_tabs_and_endpoints_and_no_others(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tabs, has, has_not = PAGES[name]
    blocks = _module(name).build()
    shown = {one["props"]["label"] for one in blocks.get_config_file()["components"] if one["type"] == "tabitem"}
    assert shown == tabs
    endpoints = blocks.get_api_info()["named_endpoints"]
    assert has in endpoints
    assert has_not not in endpoints


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, APPS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_it_starts_as_a_script_and_ends_in_order(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "GRADIO_SERVER_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, str(APPS / f"{name}.py")], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        assert PAGES[name][1] in json.loads(_get(f"{address}/gradio_api/info"))["named_endpoints"]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert not list(tmp_path.glob("speechssl-app-*"))


def _get(url: str) -> bytes:
    end = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return bytes(answer.read())
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)
