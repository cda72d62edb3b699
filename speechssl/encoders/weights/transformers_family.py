"""Encoders as transformers stores them: a folder with ``config.json`` and weights, here or on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from speechssl import checkpoints
from speechssl.checkpoints import foreign
from speechssl.encoders import whisper
from speechssl.encoders.encoder import GRID
from speechssl.encoders.frontends import check_log_mel
from speechssl.encoders.network import TRANSFORMERS_EPSILON, Weights
from speechssl.errors import CheckpointError, InputError, first_line

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")

# path of a file of the model, or None if the model has no such file
Files = Callable[[str], "Path | None"]


def read_folder(folder: Path, *, name: str | None = None, normalise: bool | None = None) -> Weights:
    """A model from a local folder.

    Args:
        folder: as ``save_pretrained`` writes it.
        name: begins the origin; None gives the folder's name with the fingerprint of the weights.
        normalise: what the caller decided; needed only where the folder does not say what the model's own way is.
    Raises:
        CheckpointError: a file is missing or damaged.
    """

    def files(filename: str) -> Path | None:
        return folder / filename if (folder / filename).is_file() else None

    return _read(files, source=str(folder), name=name, stem=folder.resolve().name, normalise=normalise)


def read_hub(repository: str, *, name: str, layer: int | None = None, normalise: bool | None = None) -> Weights:
    """A model from the hub's cache on this machine, or downloaded.

    Args:
        repository: ``owner/model``.
        name: begins the origin.
        layer: recommended.
        normalise: as for ``read_folder``.
    Raises:
        CheckpointError: neither in the cache nor to be had, missing or damaged files.
    """
    return _read(
        lambda filename: _from_hub(repository, filename),
        source=repository, name=name, stem=name, normalise=normalise, layer=layer,
    )  # fmt: skip


def _read(
    files: Files, *, source: str, name: str | None, stem: str, normalise: bool | None, layer: int | None = None
) -> Weights:
    config_path = files(CONFIG)
    if config_path is None:
        raise CheckpointError(
            f"{source} has no {CONFIG}; a folder as transformers' save_pretrained writes it is needed"
        )
    config = _json(config_path)
    path = next((path for filename in WEIGHTS if (path := files(filename))), None)
    if path is None:
        raise CheckpointError(f"{source} has neither {' nor '.join(WEIGHTS)}; save the model into one file")
    return Weights(
        name=name or f"{stem}@{checkpoints.fingerprint(path)[:8]}",
        source=source,
        config=config,
        tensors=_tensors(path),
        normalise=_own_normalisation(config, files(PREPROCESSOR), source, normalise),
        layer=layer,
        grid=whisper.GRID if config.get("model_type") == "whisper" else GRID,
    )


def _own_normalisation(config: dict[str, Any], path: Path | None, source: str, normalise: bool | None) -> float | None:
    """Epsilon of the model's own waveform normalisation, None for none."""
    settings = {} if path is None else _json(path)
    if config.get("model_type") == "wav2vec2-bert":
        check_log_mel(settings, source)
        return None
    if config.get("model_type") == "whisper":
        whisper.check_bands(settings, config, source)
        return None
    own = settings.get("do_normalize", normalise if path is None else True)
    if own is None:
        raise CheckpointError(
            f"{source} has no {PREPROCESSOR}, so whether it normalises the waveform is unknown; add the file, or say "
            "--normalise or --no-normalise (in Python normalise=True or False); models with layer norm in the "
            "convolutions, the large ones, usually do"
        )
    return TRANSFORMERS_EPSILON if own else None


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        loaded = checkpoints.load_pickle_tensors(path)
        if not (isinstance(loaded, dict) and all(isinstance(value, Tensor) for value in loaded.values())):
            raise CheckpointError(
                f"{path} is not a dictionary of tensors; the weights of a transformers model are needed"
            )
        return loaded
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); get it again from its publisher") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        return foreign.read_object(path)
    except InputError as error:
        raise CheckpointError(f"{error}; an object of settings is needed") from error


def _from_hub(repository: str, filename: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    # what is in the cache is taken without asking the hub: the same file tomorrow, and no wait when offline
    cached = try_to_load_from_cache(repository, filename)
    if isinstance(cached, str):
        return Path(cached)
    if away := checkpoints.hub_is_away(""):
        raise CheckpointError(_offline(repository, filename, away))
    try:
        return checkpoints.hub_download(repository, filename)
    except LocalEntryNotFoundError as error:
        raise CheckpointError(_offline(repository, filename, error)) from error
    except EntryNotFoundError:
        return None
    # the hub's own errors (no such repository, gated, server down) have no common base below OSError
    except (OSError, ValueError) as error:
        raise CheckpointError(_offline(repository, filename, error)) from error


def _offline(repository: str, filename: str, error: Exception | str) -> str:
    reason = first_line(error) if isinstance(error, Exception) else error
    return (
        f"cannot get {filename} of {repository} from the Hugging Face hub ({reason}); check the name and the "
        f"connection, or run `hf download {repository} --local-dir FOLDER` where there is one and give the folder"
    )
