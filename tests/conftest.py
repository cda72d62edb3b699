"""What several test modules share: the clips that ship with the package, and a small encoder with random weights."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

# a busy machine is no failure; the same examples every time
settings.register_profile("speechssl", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("speechssl")
# one thread: the machine that runs the tests does other things too, and small networks gain nothing from more
os.environ.setdefault("OMP_NUM_THREADS", "1")
# programs that tests start need not compile the package each time
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# nothing is ever fetched by a test
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["SPEECHSSL_OFFLINE"] = "1"
# nor are the voices, speakers and caches of whoever runs the tests touched
_HOME = tempfile.TemporaryDirectory(prefix="speechssl-tests-")
os.environ["SPEECHSSL_VOICES"] = f"{_HOME.name}/data/voices"
os.environ["SPEECHSSL_CACHE"] = f"{_HOME.name}/cache"


@pytest.fixture(scope="session")
def torchaudio() -> ModuleType:
    """The library, where it imports; for tests of what is its own, or speechbrain's, which imports it."""
    from speechssl import errors

    try:
        return importlib.import_module("torchaudio")
    except (ImportError, OSError) as error:
        pytest.skip(errors.not_loaded(error, "torchaudio"))


@pytest.fixture(autouse=True)
def speechbrain_leaves_no_lazy_modules() -> Iterator[None]:
    """speechbrain's lazy modules raise when looked at, and hypothesis looks at every module."""
    yield
    if "speechbrain" in sys.modules:
        for name, module in list(sys.modules.items()):
            if type(module).__module__ == "speechbrain.utils.importutils":
                del sys.modules[name]


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "feature_projection_input_dim": 160,
    "conv_depthwise_kernel_size": 7,
    "position_embeddings_type": "relative_key",
    "left_max_position_embeddings": 16,
    "right_max_position_embeddings": 8,
    "add_adapter": False,
}
LOG_MEL = {
    "type": "log-mel",
    "feature_size": 80,
    "num_mel_bins": 80,
    "sampling_rate": 16000,
    "stride": 2,
    "padding_value": 0.0,
}


def write_encoder(path: Path, *, name: str = "small", seed: int = 0) -> Path:
    """An encoder file of ours with random weights: 32 numbers a frame, two layers."""
    import torch

    from speechssl import checkpoints

    torch.manual_seed(seed)
    transformers = checkpoints.transformers()
    network = transformers.Wav2Vec2BertModel(transformers.Wav2Vec2BertConfig(**SMALL))
    header = {
        "kind": "encoder",
        "family": "wav2vec2-bert",
        "name": name,
        "layer": 2,
        "config": SMALL,
        "input": LOG_MEL,
        "origin": f"{name}/2",
        "provenance": {"weights": "random"},
        "licence": "MIT",
    }
    return checkpoints.save(path, network.state_dict(), header)


@pytest.fixture(scope="session")
def make_encoder() -> Callable[..., Path]:
    """``write_encoder``, which test modules cannot import from here."""
    return write_encoder


@pytest.fixture(scope="session")
def make_weights() -> Callable[..., Path]:
    """The same, where ``make_encoder`` is something else."""
    return write_encoder


@pytest.fixture(scope="session")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small encoder's file; for ``--model``."""
    return write_encoder(tmp_path_factory.mktemp("encoder") / "small.safetensors")


def needs_program(name: str, package: str | None = None) -> str:
    """The path of a program.

    Where it is absent, the test is skipped with the line that installs it, and fails if ``SPEECHSSL_REQUIRE_PROGRAMS``
    is set: nothing is skipped for want of a program where changes are tried before they land.
    """
    if found := shutil.which(name):
        return found
    told = f"{name} is not here; apt-get install {package or name}"
    if os.environ.get("SPEECHSSL_REQUIRE_PROGRAMS"):
        pytest.fail(told, pytrace=False)
    pytest.skip(told)


@pytest.fixture(scope="session")
def program() -> Callable[..., str]:
    """``needs_program``, which test modules cannot import from here."""
    return needs_program


@pytest.fixture(scope="session")
def chromium() -> str:
    """Its path: $CHROMIUM, the one without windows, which is the fastest, or one of the names that systems give it."""
    names = ("chromium-headless-shell", "chromium-browser", "google-chrome")
    known = [os.environ.get("CHROMIUM"), *(shutil.which(name) for name in names)]
    return next(filter(None, known), None) or needs_program("chromium")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real speech beside the checkout; the test is skipped where there is none."""
    folder = Path(os.environ.get("SPEECHSSL_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip("no speech data beside the checkout")
    return folder


@pytest.fixture(scope="session")
def speech(speech_files: dict[str, Path]) -> dict[str, Path]:
    """The same under a shorter name; the tests of voices and conversion use this name for waveforms."""
    return speech_files


@pytest.fixture(scope="session")
def speech_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``source``: 2 s of ada, ``reference``: 8 s of eric, ``other``: 8 s of beth; 16 kHz WAV at -26 LUFS."""
    from speechssl import audio
    from speechssl.signals import Waveform
    from speechssl.voices import clips

    folder = tmp_path_factory.mktemp("speech")
    cuts = {"source": ("ada", "sentence", 2), "reference": ("eric", "reference", 8), "other": ("beth", "reference", 8)}
    paths = {}
    for name, (voice, role, seconds) in cuts.items():
        whole = audio.read_mono(clips.clip(voice, role).path, 16_000)
        paths[name] = folder / f"{name}.wav"
        cut = Waveform(whole.samples[: seconds * 16_000].clone(), 16_000)
        # quiet enough that a conversion of it never has to be held back from clipping
        audio.write(paths[name], audio.set_loudness(cut, -26))
    return paths


@pytest.fixture
def imported_once(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The process that imports every package takes ten seconds: its answer serves all tests, in all their processes."""
    from speechssl.cli import doctor

    real, folder = doctor._import_failures, tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def answer(modules: list[str]) -> dict[str, str]:
        kept = folder / f"imports-{hashlib.sha256(' '.join(modules).encode()).hexdigest()[:16]}.json"
        with FileLock(f"{kept}.lock"):
            if not kept.exists():
                kept.write_text(json.dumps(real(modules)))
            found: dict[str, str] = json.loads(kept.read_text())
            return found

    monkeypatch.setattr(doctor, "_import_failures", answer)


@pytest.fixture(scope="module")
def recipe(request: pytest.FixtureRequest) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the recipe folder that the test module names as ``RECIPE``, fresh.

    Recipes are scripts that import their neighbours by bare names, and several have an ``evaluate``: one folder at a
    time is on the path, and what the last test imported of another is forgotten.
    """
    folder = Path(__file__).parents[1] / "recipes" / request.module.RECIPE
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        for name in {path.stem for path in folder.parent.glob("*/*.py")} & set(sys.modules):
            if str(folder.parent) in str(sys.modules[name].__file__):
                patch.delitem(sys.modules, name)
        yield importlib.import_module
