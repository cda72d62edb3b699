"""The package as it is shipped: light to import, and complete in the wheel."""

from __future__ import annotations

import ast
import doctest
import importlib.metadata
import inspect
import io
import re
import resource
import runpy
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

import speechssl
from speechssl import audio, checkpoints, cli
from speechssl.voices import clips

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "torchaudio", "numpy", "scipy", "sklearn", "soundfile", "pyworld", "av")


def _commands(group: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = getattr(group, "commands", {})
    return [before, *(found for name, one in below.items() for found in _commands(one, (*before, name)))]


COMMANDS = _commands(cli.command())
FIRST = {("convert",), ("features",), ("voice", "add"), ("voice", "import"), ("report",), ("doctor",), ("demo",)}


def test_every_public_name_is_there() -> None:
    for name in speechssl.__all__:
        assert getattr(speechssl, name) is not None
    assert set(speechssl.__all__) == {*speechssl._PLACES, "__version__"}
    assert set(speechssl.__all__) <= set(dir(speechssl))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = speechssl.nonsense


@pytest.mark.parametrize("statement", ["import speechssl", "from speechssl import cli; cli.run(['--help'])"])
def test_nothing_heavy_is_imported_until_it_is_used(statement: str) -> None:
    check = f"{statement}\nimport sys\nprint('loaded:', *[m for m in {HEAVY!r} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1].strip() == "loaded:"


def test_help_is_quick() -> None:
    """In processor time, for the clock also measures what else the machine does; beside torch, which is left out."""

    def seconds(code: str) -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime

    helped = min(seconds("from speechssl.cli import main; main(['--help'])") for _ in range(3))
    # 0.15 measured
    assert helped < 0.35 * seconds("import torch")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "speechssl")
def test_help_of_every_command(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Usage: speechssl" in " ".join(out.split())
    assert len(out.splitlines()) > 5


def test_every_public_function_says_what_it_returns_with_an_example_that_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runner, told = doctest.DocTestRunner(), io.StringIO()
    functions = {name: one for name in sorted(speechssl.__all__) if inspect.isfunction(one := getattr(speechssl, name))}
    for name, function in functions.items():
        text = inspect.getdoc(function) or ""
        assert "Returns:" in text, name
        test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
        assert test.examples, name
        runner.run(test, out=told.write)
    assert runner.summarize(verbose=False).failed == 0, told.getvalue()


def test_the_first_commands_are_there() -> None:
    assert set(COMMANDS) >= FIRST


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"speechssl {speechssl.__version__}\n"


def test_what_is_imported_is_declared() -> None:
    """Each third-party module under speechssl/ belongs to a dependency, or an extra, in pyproject.toml."""
    lines = [line for line in importlib.metadata.requires("speechssl") or [] if "extra == 'dev'" not in line]
    declared = {_normal(re.split(r"[^\w-]", line)[0]) for line in lines}
    owners = importlib.metadata.packages_distributions()
    undeclared = set()
    for path in (ROOT / "speechssl").rglob("*.py"):
        for module in _imports(path) - set(sys.stdlib_module_names) - {"speechssl", "__future__"}:
            if not set(map(_normal, owners.get(module, []))) & declared:
                undeclared.add((module, path.name))
    assert not undeclared


def _normal(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).split(".")[0])
    return names


def test_the_wheel_is_complete(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = map(Path, WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "speechssl").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert tracked <= names
    assert {"speechssl/py.typed", "speechssl/models/clips/clips.json"} <= names
    assert {name.split("/")[-1] for name in names} >= {"LICENSE", "NOTICE", "entry_points.txt"}
    assert not [name for name in names if name.startswith(("tests/", "recipes/"))]
    assert wheel.stat().st_size < 75e6


def test_the_sdist_holds_what_its_tests_need(tmp_path: Path) -> None:
    from hatchling.builders.sdist import SdistBuilder

    (sdist,) = map(Path, SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    with tarfile.open(sdist) as archive:
        names = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    folders = ("speechssl", "tests", "recipes", "benchmarks", "apps", "docs", "requirements", ".ci")
    needed = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"__pycache__", "runs"} & set(path.parts)
    }
    assert needed <= names
    assert names >= {
        "pyproject.toml",
        "Makefile",
        "mkdocs.yml",
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "LICENSE",
        "NOTICE",
    }
    assert sdist.stat().st_size < 80e6


def _entries(lock: str) -> list[str]:
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    return re.split(r"\n(?=\w)", text.split("\n", 1)[1].strip())


def test_the_lock_holds_every_dependency_in_its_range() -> None:
    """For this Python and system, with every extra: the tests run them all."""
    from packaging.requirements import Requirement

    locked = runpy.run_path(str(ROOT / ".ci/moved.py"))["locked"]()
    extras = ["", *importlib.metadata.metadata("speechssl").get_all("Provides-Extra", [])]
    declared = [Requirement(line) for line in importlib.metadata.requires("speechssl") or []]
    wanted = [
        one
        for one in declared
        if one.name != "speechssl" and (not one.marker or any(one.marker.evaluate({"extra": name}) for name in extras))
    ]
    assert len(wanted) > 30
    for one in wanted:
        assert one.specifier.contains(locked[_normal(one.name)]), one


def test_every_line_of_the_lock_is_exact_and_has_hashes() -> None:
    pins = {name: {entry.split()[0] for entry in _entries(name)} for name in ("package.txt", "dev.txt")}
    assert pins["package.txt"] <= pins["dev.txt"]
    for name in ("dev.txt", "docs.txt", "package.txt", "torch.txt", "torch-cpu.txt", "build.txt"):
        for entry in _entries(name):
            assert re.match(r"[\w.-]+==[\w.+]+ (; .+ )?\\\n", entry), entry
            assert re.search(r"\\\n    --hash=sha256:[0-9a-f]{64}$", entry), entry


# ---- the clips


def test_the_clips_are_what_their_list_says() -> None:
    found = clips.clips()
    assert len({clip.voice for clip in found}) == 6
    for clip in found:
        assert abs(audio.info(clip.path).seconds - clip.seconds) < 0.02
        assert len(clip.text) > 50
    assert sum(path.stat().st_size for path in (checkpoints.PACKAGED / "clips").iterdir()) < 3e6
    with pytest.raises(speechssl.InputError, match="zoe"):
        clips.clip("zoe")


def test_contributing_names_every_package() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    entries = {path.stem for path in (ROOT / "speechssl").iterdir() if (path / "__init__.py").exists()}
    assert {name for name in entries if not re.search(rf"^{name}\b|\| {name}\b", text, flags=re.MULTILINE)} == set()


def test_no_script_of_a_recipe_hides_a_package() -> None:
    """Recipes import their neighbours by bare names: a ``coverage.py`` among them would break what numba imports."""
    names = {path.stem for path in ROOT.glob("recipes/*/*.py")}
    assert names
    assert not names & (sys.stdlib_module_names | {"coverage"})
