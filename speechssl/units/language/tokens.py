"""Units as tokens of a language model: an existing tokenizer with unit tokens added, and embeddings to start from."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechssl import checkpoints, errors
from speechssl.checkpoints import foreign, names, write_text
from speechssl.errors import CheckpointError, InputError
from speechssl.units.codebooks import codebook as codebooks
from speechssl.units.codebooks.codebook import Codebook

MAP = "units.json"
EMBEDDINGS = "unit_embeddings.safetensors"
BEGIN, END = "<speech>", "</speech>"
SPREAD = 0.02  # of GPT-2's initial embeddings, where the model's own are not given
# where input embeddings are kept by the usual families
EMBEDDING_KEYS = (
    "embed_tokens.weight",
    "wte.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
    "embed_in.weight",
)


@dataclass(frozen=True)
class UnitVocabulary:
    """Token ids of units in an extended tokenizer.

    Args:
        codebook: fingerprint of the units' codebook.
        units: token id of each unit.
        begin: of ``<speech>``.
        end: of ``</speech>``.
        eos: what ends a document; ``end`` where the tokenizer has none.
        size: of the whole vocabulary.
    """

    codebook: str
    units: tuple[int, ...]
    begin: int
    end: int
    eos: int
    size: int

    def speech(self, units: list[int]) -> list[int]:
        """``<speech> units </speech>`` as token ids.

        Raises:
            InputError: a unit that does not exist, or a codebook of several levels.
        """
        try:
            return [self.begin, *(self.units[unit] for unit in units), self.end]
        except (IndexError, TypeError):
            worst = max((unit for unit in units if isinstance(unit, int)), default="a row of codes")
            raise InputError(f"unit {worst}; the tokenizer has 0 to {len(self.units) - 1}") from None


def extend(base: str | Path, codebook: str | Path | Codebook, output: str | Path) -> UnitVocabulary:
    """Add ``<unit_0>`` ... ``<unit_K-1>``, ``<speech>`` and ``</speech>`` to a tokenizer; no id it had moves.

    Writes the tokenizer, the map from unit to token id (``units.json``) and, in ``unit_embeddings.safetensors``,
    rows to start the new embeddings from (``initial_embeddings``), with the base model's own statistics if its
    weights lie in the folder.

    Args:
        base: folder or hub name of a tokenizer of transformers.
        codebook: name, file or object; of one level.
        output: folder, new or empty.
    Raises:
        InputError: the tokenizer has unit tokens already, the codebook has several levels, or the folder is not empty.
        CheckpointError: no such tokenizer, it cannot be had offline, or the place cannot be written to.
    """
    from safetensors.numpy import save_file

    book = codebook if isinstance(codebook, Codebook) else codebooks.load(codebook)
    if book.num_levels > 1:
        raise InputError(
            f"{book.origin} has {book.num_levels} codes a frame; a codebook of one level needed for tokens"
        )
    folder = Path(output)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; choose a new folder for the tokenizer")
    tokenizer = _tokenizer(base)
    before = dict(tokenizer.get_vocab())
    names = [f"<unit_{unit}>" for unit in range(book.num_units)]
    _add(tokenizer, [*names, BEGIN, END], before, base)
    vocabulary = UnitVocabulary(
        codebook=book.fingerprint,
        units=tuple(tokenizer.convert_tokens_to_ids(names)),
        begin=tokenizer.convert_tokens_to_ids(BEGIN),
        end=tokenizer.convert_tokens_to_ids(END),
        eos=_eos(tokenizer),
        size=len(tokenizer),
    )
    rows = initial_embeddings(book, base_embeddings(base))
    new = {"embeddings": rows, "tokens": np.array([*vocabulary.units, vocabulary.begin, vocabulary.end])}
    facts = {**vars(vocabulary), "units": list(vocabulary.units), "origin": book.origin, "base_size": len(before)}
    with _whole(folder):
        tokenizer.save_pretrained(folder)
        save_file(new, folder / EMBEDDINGS)
        write_text(folder / MAP, json.dumps(facts, indent=1) + "\n")
    return vocabulary


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """Remove a folder that could not be written to its end; half a tokenizer would be loaded as a whole one."""
    try:
        yield
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        # a full disk raises another error in each library
        if not isinstance(error, Exception):
            raise
        raise CheckpointError(
            f"cannot write {folder} ({errors.first_line(error)}); nothing was left behind: make room, or choose "
            "another place"
        ) from error


def load_vocabulary(folder: str | Path) -> UnitVocabulary:
    """The map that ``extend`` wrote.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = Path(folder) / MAP
    if not path.exists():
        raise CheckpointError(f"{folder} has no {MAP}; make it with `speechssl units tokenizer`")
    try:
        facts = foreign.read_object(path)
        marks = {name: int(facts[name]) for name in ("begin", "end", "eos", "size")}
        return UnitVocabulary(names.text_field(facts["codebook"], "codebook"), tuple(map(int, facts["units"])), **marks)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); make it again") from error


def initial_embeddings(codebook: Codebook, base: NDArray[np.float32] | None, *, dim: int = 768) -> NDArray[np.float32]:
    """Rows (K + 2, E) for the units, ``<speech>`` and ``</speech>``.

    A unit's row is the mean of the base embeddings plus its centroid, projected: centroids less their mean, times a
    fixed random matrix, scaled so that the rows lie as far from the mean as the base rows do. A random projection keeps
    distances to each other, so units that sound alike start alike; the mean keeps their logits ordinary
    (Hewitt 2021). The rows of the two marks are the mean.

    Args:
        codebook: of one level.
        base: (V, E) input embeddings of the model; None for mean 0 and a spread of ``SPREAD``.
        dim: E where there is no base.
    """
    width = dim if base is None else base.shape[1]
    mean = np.zeros(width) if base is None else base.mean(axis=0, dtype=np.float64)
    spread = SPREAD if base is None else float(np.sqrt(np.square(base - mean).mean()))
    centroids = codebook.centroids[0].astype(np.float64)
    projected = (centroids - centroids.mean(0)) @ np.random.default_rng(0).normal(size=(codebook.dim, width))
    scale = float(np.sqrt(np.square(projected).mean())) or 1.0
    return np.concatenate([mean + projected * (spread / scale), [mean, mean]]).astype(np.float32)


def base_embeddings(base: str | Path) -> NDArray[np.float32] | None:
    """(V, E) input embeddings of the model whose safetensors lie in the folder; None if there are none."""
    from safetensors import safe_open

    for path in sorted(Path(base).glob("*.safetensors")) if Path(base).is_dir() else []:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  no mapping
                if key.endswith(EMBEDDING_KEYS):
                    return file.get_tensor(key).float().numpy()
    return None


def _tokenizer(base: str | Path) -> Any:
    load: Any = checkpoints.transformers().AutoTokenizer.from_pretrained
    away = checkpoints.hub_is_away(base)
    try:
        return load(str(base), local_files_only=bool(away))
    except ImportError as error:
        raise InputError(errors.not_loaded(error, "transformers")) from error
    # a missing or broken tokenizer raises almost anything
    except Exception as error:
        reason = away or errors.first_line(error)
        raise CheckpointError(
            f"no tokenizer can be read from {str(base)!r} ({reason}); "
            "give a folder with tokenizer.json, or a hub name while online"
        ) from error


def _add(tokenizer: Any, names: list[str], before: dict[str, int], base: str | Path) -> None:
    from transformers import AddedToken

    if taken := [name for name in names if name in before]:
        raise InputError(f"the tokenizer {str(base)!r} has {taken[0]!r} already; extend the one it was made from")
    # not special, so that a decoded text shows them; not normalised, so that no rule of the base touches them
    tokenizer.add_tokens([AddedToken(name, normalized=False, special=False) for name in names])
    after = tokenizer.get_vocab()
    if moved := [name for name, old in before.items() if after.get(name) != old]:
        raise CheckpointError(
            f"the tokenizer {str(base)!r} moved {moved[0]!r} when tokens were added; it cannot be used"
        )


def _eos(tokenizer: Any) -> int:
    found = tokenizer.eos_token_id
    return int(tokenizer.convert_tokens_to_ids(END) if found is None else found)
