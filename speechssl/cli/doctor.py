"""``speechssl doctor``: versions, devices, models, and problems with their cures."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from speechssl import __version__, checkpoints, errors
from speechssl.checkpoints import cache_dir
from speechssl.cli import terminal
from speechssl.cli.options import Json, examples
from speechssl.errors import CheckpointError

# distribution -> module it is imported as; what pyproject.toml depends on
_RENAMED = {
    "pyworld-prebuilt": "pyworld",
    "python-crfsuite": "pycrfsuite",
    "pillow": "PIL",
    "markdown-it-py": "markdown_it",
}
NEEDED = {
    name: _RENAMED.get(name, name.replace("-", "_"))
    for name in (
        "torch", "torchaudio", "transformers", "huggingface-hub", "numpy", "scipy", "safetensors", "filelock",
        "soundfile", "av", "soxr", "pyworld-prebuilt", "typer", "gruut-lang-en", "python-crfsuite",
        "num2words", "sentencex", "markdown-it-py", "anyascii", "rich", "gradio", "starlette", "fastapi", "uvicorn",
        "websockets", "pydantic", "anyio", "markupsafe", "pillow", "cryptography", "mutagen",
    )
}  # fmt: skip
LOW_SPACE = 2000  # MB free in the cache; a large model needs more
EXAMPLES = examples("doctor", "doctor --json", "doctor --report")


def doctor(
    json: Json = False,
    report: Annotated[
        bool, typer.Option("--report", help="Print for a bug report: as --json, without names of folders and voices.")
    ] = False,
) -> None:
    """List versions, devices and models (with size and licence), and name problems with their cures."""
    found = examine()
    if report:
        print(dumps(for_a_report(found), indent=1, ensure_ascii=False))
    elif json:
        terminal.emit(found)
    else:
        _print(found)
    if found["problems"]:
        raise typer.Exit(2)


def examine() -> dict[str, Any]:
    """Everything the command prints, as JSON-able values."""
    problems: list[dict[str, str]] = []
    warned: list[dict[str, str]] = []
    return {
        "speechssl": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _packages(problems, warned),
        "devices": _devices(problems),
        "audio": _audio(problems),
        "bundles": _bundles(problems),
        "cache": _cache(problems),
        "voices": _voices(problems, warned),
        "data": _data(problems),
        "problems": problems,
        "warnings": warned,
    }


def for_a_report(found: dict[str, Any]) -> dict[str, Any]:
    """What ``examine`` found, without the names of folders and of stored voices, to show to others."""
    names = dict.fromkeys((found["cache"]["folder"], found["voices"]["folder"], *found["data"].values()), "PLACE")
    names |= {str(path): "VOICE" for path in Path(found["voices"]["folder"]).glob("*")}

    def hidden(text: str) -> str:
        for path in sorted(names, key=len, reverse=True):
            text = text.replace(path, names[path])
        return re.sub(r"(?<![\w.])(?:/|[A-Za-z]:\\|~)[^\s;,:'\"]+", "PATH", text)

    kept = ("speechssl", "python", "platform", "packages", "devices", "audio", "bundles")
    return {
        **{name: found[name] for name in kept},
        "voices": found["voices"]["number"],
        "megabytes_free": found["cache"]["megabytes_free"],
        "offline": found["cache"]["offline"],
        **{
            name: [{key: hidden(text) for key, text in one.items()} for one in found[name]]
            for name in ("problems", "warnings")
        },
    }


def _problem(problems: list[dict[str, str]], what: str, cure: str) -> None:
    problems.append({"problem": what, "cure": cure})


def _packages(problems: list[dict[str, str]], warned: list[dict[str, str]]) -> dict[str, str | None]:
    """Versions; each is imported, in a process of its own, for a broken binary may end the one that loads it."""
    versions = {name: errors.version(name) for name in NEEDED}
    reasons = _import_failures([module for name, module in NEEDED.items() if versions[name]])
    for name, module in NEEDED.items():
        # only its own bundles need it
        place = warned if name == "torchaudio" else problems
        if versions[name] is None:
            _problem(place, f"{name} is not installed{_ONLY.get(name, '')}", errors.install_command(module))
        elif module in reasons:
            what = f"{name} {versions[name]} cannot be imported: {reasons[module]}{_ONLY.get(name, '')}"
            _problem(place, what, errors.install_command(module))
    if "torchaudio" not in reasons:
        _check_pair(versions, warned)
    return versions


_ONLY = {"torchaudio": "; only encoders named torchaudio:NAME need it"}


def _import_failures(modules: list[str]) -> dict[str, str]:
    """For each module that cannot be imported, the reason."""
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", _IMPORTS, *modules], capture_output=True, text=True)
    answers = dict(line.split("\t", 1) for line in found.stdout.splitlines() if line.count("\t") == 1)
    begun = [module for module in modules if module not in answers]
    if found.returncode and begun:
        answers[begun[0]] = f"the process ended with code {found.returncode}"
    return {module: reason for module, reason in answers.items() if reason}


_IMPORTS = """
import importlib, os, sys
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
        reason = ""
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
    print(name, reason, sep="\\t", file=out, flush=True)
"""


def _check_pair(versions: dict[str, str | None], warned: list[dict[str, str]]) -> None:
    """Warn of versions of torch and torchaudio that are known not to go together."""
    torch, torchaudio = versions["torch"], versions["torchaudio"]
    if not torch or not torchaudio:
        return
    good = errors.torchaudio_beside(torch)
    if good and torchaudio.partition("+")[0] not in good:
        what = f"torchaudio {torchaudio} is not made for torch {torch}, but {' or '.join(good)} is{_ONLY['torchaudio']}"
        _problem(warned, what, errors.install_command("torchaudio"))


def _devices(problems: list[dict[str, str]]) -> dict[str, Any]:
    try:
        import torch
    except Exception:  # already reported with the packages
        return {}
    devices: dict[str, Any] = {"cpu": {"cores": os.cpu_count(), "threads": torch.get_num_threads()}}
    if torch.cuda.is_available():
        devices["cuda"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices["mps"] = True
    return devices


def _audio(problems: list[dict[str, str]]) -> dict[str, Any]:
    try:
        import soundfile
    except Exception:  # already reported with the packages
        return {}
    formats = soundfile.available_formats()
    can = {"mp3": "MP3" in formats, "opus": "OPUS" in soundfile.available_subtypes("OGG")}
    for name, possible in can.items():
        if not possible:
            _problem(problems, f"this libsndfile has no {name}", "pip install --force-reinstall 'soundfile>=0.13'")
    return {"libsndfile": soundfile.__libsndfile_version__, **can}


def _bundles(problems: list[dict[str, str]]) -> list[dict[str, Any]]:
    from speechssl.conversion.bundles import BUNDLES

    return [
        {
            "name": bundle.name,
            "state": _state(bundle.name, problems),
            "megabytes": bundle.megabytes,
            "licence": bundle.licence,
            "source": bundle.source,
        }
        for bundle in BUNDLES.values()
    ]


def _state(name: str, problems: list[dict[str, str]]) -> str:
    """``present``, ``would be fetched`` or ``broken``."""
    from speechssl.conversion.bundles import bundle

    if name != "tiny":
        return "present" if all(path.exists() for path in _files(bundle(name).source, name)) else "would be fetched"
    whole = [_is_whole(path, kind, problems) for path, kind in _packaged()]
    return "present" if all(whole) else "broken"


def _packaged() -> list[tuple[Path, str]]:
    """The model files that belong to the package, and the kind of each."""
    from speechssl.conversion import bundles

    folder = checkpoints.PACKAGED
    return [
        (bundles.TINY, "encoder"),
        (folder / "tiny/vocoder.safetensors", "vocoder"),
        (bundles.PREDICTOR, "predictor"),
        *((folder / f"tiny/codebook-{size}.safetensors", "codebook") for size in (100, 200, 500)),
        (folder / "tiny/speaker.safetensors", "embedder"),
        (folder / "tiny/synthesizer.safetensors", "synthesizer"),
        (folder / "tiny/synthesizer-voice.safetensors", "voice"),
        *((path, "voice") for path in sorted((folder / "tiny/voices").glob("*.safetensors"))),
        (folder / "second_speaker.safetensors", "second-speaker"),
        (folder / "speechlike.safetensors", "speechlike"),
        (folder / "synthetic.safetensors", "synthetic-speech"),
    ]


def _is_whole(path: Path, kind: str, problems: list[dict[str, str]]) -> bool:
    try:
        checkpoints.load(path, kind=kind, verify=True)
        return True
    # torch: already reported with the packages
    except ImportError:
        return path.exists()
    except CheckpointError as error:
        _problem(problems, f"a model of the package: {error}", "pip install --force-reinstall speechssl")
        return False


def _files(source: str, name: str) -> list[Path]:
    """Paths of the weights in the caches; a path that does not exist stands for a missing file."""
    from huggingface_hub import try_to_load_from_cache

    missing = Path("missing")
    repository = source.split(";")[0]
    cached = [try_to_load_from_cache(repository, file) for file in ("model.safetensors", "pytorch_model.bin")]
    files = [next((Path(path) for path in cached if isinstance(path, str)), missing)]
    if name == "wavlm-large":
        try:
            from speechssl.vocoders.hifigan import PUBLISHED
        except ImportError:  # torch, already reported with the packages
            return [missing]
        files.append(checkpoints.cache_dir() / PUBLISHED["knn-vc-prematched"].filename)
    return files


def _cache(problems: list[dict[str, str]]) -> dict[str, Any]:
    folder = cache_dir()
    free = shutil.disk_usage(_there(folder)).free // 10**6
    if not os.access(_there(folder), os.W_OK):
        _problem(problems, f"the cache {folder} cannot be written to", "set SPEECHSSL_CACHE to a folder of yours")
    if free < LOW_SPACE:
        _problem(problems, f"{free} MB free for the cache {folder}", "free some, or set SPEECHSSL_CACHE elsewhere")
    return {"folder": str(folder), "megabytes_free": free, "offline": bool(os.environ.get("SPEECHSSL_OFFLINE"))}


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _voices(problems: list[dict[str, str]], warned: list[dict[str, str]]) -> dict[str, Any]:
    try:
        from speechssl import checkpoints, voices
        from speechssl.voices.files import SUFFIX
    except ImportError:  # already reported with the packages
        return {"folder": "unknown", "number": 0}
    folder = checkpoints.data_folder()
    if not os.access(_there(folder), os.W_OK):
        what = f"the folder of voices {folder} cannot be written to; only storing voices, speakers and keys needs it"
        _problem(warned, what, "set SPEECHSSL_VOICES to a folder of yours")
    files = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    for path in files:
        try:
            voices.info(path)
        except CheckpointError as error:
            _problem(problems, f"a stored voice: {error}", f"make it again, or delete {path}")
    return {"folder": str(folder), "number": len(files)}


def _data(problems: list[dict[str, str]]) -> dict[str, Any]:
    """Where that lies which cannot be made again, besides voices."""
    try:
        from speechssl.receipts import signing
        from speechssl.verification import database
    except ImportError:  # already reported with the packages
        return {"speakers": "unknown", "key": "unknown"}
    speakers, key = database.default_path(), signing.default_key()
    for old in database.in_old_place():
        why = f"{old} lies in the cache, which people empty; it is damaged, or only one of $SPEECHSSL_VOICES and "
        why += "$SPEECHSSL_CACHE is set"
        _problem(problems, why, "move it, and set SPEECHSSL_SPEAKERS to its new place; or delete it")
    return {"speakers": str(speakers), "key": str(key) if key.exists() else "none yet"}


def _print(found: dict[str, Any]) -> None:
    print(f"speechssl {found['speechssl']}, Python {found['python']}, {found['platform']}")
    print("packages: " + ", ".join(f"{name} {version or 'MISSING'}" for name, version in found["packages"].items()))
    print("devices: " + ", ".join(_device(name, facts) for name, facts in found["devices"].items()))
    print("audio: " + ", ".join(_codec(name, facts) for name, facts in found["audio"].items()))
    print(f"cache: {found['cache']['folder']} ({found['cache']['megabytes_free']} MB free)")
    terminal.say(f"voices: {found['voices']['folder']} ({found['voices']['number']} voices)")
    terminal.say(f"speakers: {found['data']['speakers']}; key of the receipts: {found['data']['key']}")
    print()
    rows = [(b["name"], b["state"], _size(b["megabytes"]), b["licence"], b["source"]) for b in found["bundles"]]
    terminal.table(rows, ("model", "state", "download", "licence", "source"))
    print()
    for problem in found["problems"]:
        terminal.say(f"BROKEN: {problem['problem']}\n  cure: {problem['cure']}")
    for warning in found["warnings"]:
        terminal.say(f"WARNING: {warning['problem']}\n  cure: {warning['cure']}")
    if not found["problems"]:
        print("nothing is broken")


def _device(name: str, facts: Any) -> str:
    if name == "cpu":
        return f"cpu with {facts['cores']} cores, {facts['threads']} threads used"
    return f"{name}: {', '.join(facts)}" if isinstance(facts, list) else name


def _codec(name: str, facts: Any) -> str:
    return f"{name} {facts}" if isinstance(facts, str) else name if facts else f"no {name}"


def _size(megabytes: int | None) -> str:
    return "unknown" if megabytes is None else "none" if megabytes == 0 else f"{megabytes} MB"
