"""Records of units to token blocks for training, as parquet that ``datasets.load_dataset`` reads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechssl.checkpoints import atomic_path
from speechssl.errors import InputError
from speechssl.units.encoding import engine, formats

if TYPE_CHECKING:
    from speechssl.units.language.tokens import UnitVocabulary

IGNORED = -100  # label of a token that is not learned, as in PyTorch's cross entropy
MODES = ("speech", "interleaved", "instruction")
ROWS = 512  # blocks written at a time

Text = Callable[[str], list[int]]


@dataclass(frozen=True)
class Packed:
    """What was written.

    Args:
        blocks: rows.
        tokens: real tokens in them, padding not counted.
        documents: utterances.
        skipped: utterances without what the mode needs.
    """

    blocks: int
    tokens: int
    documents: int
    skipped: int


def pack(
    units: str | Path,
    tokenizer: str | Path,
    output: str | Path,
    *,
    length: int = 1024,
    mode: str = "speech",
    columns: tuple[str, str] = ("question", "answer"),
) -> Packed:
    """Token blocks of a folder of units.

    Args:
        units: folder or file that ``units encode`` made, collapsed or not.
        tokenizer: folder that ``units tokenizer`` made for the same codebook.
        output: parquet file, columns ``input_ids`` and ``labels`` (each ``length`` long) and ``starts``, where in the
            block documents begin, so that attention can be kept within them. The last block is padded, with labels of
            -100. In the mode ``instruction`` a row is one record of at most ``length`` tokens, not padded; its prompt
            has labels of -100.
        length: tokens a block.
        mode: ``speech``; ``interleaved``: speech then its text, and text then its speech, in turns; ``instruction``:
            speech and a question, then the answer (DiscreteSLU, arXiv:2406.09345).
        columns: of question and answer.
    Raises:
        InputError: units of another codebook than the tokenizer's, an unknown mode, or nothing to pack.
    """
    from speechssl.units.language.tokens import load_vocabulary

    if mode not in MODES:
        raise InputError(f"--mode is {mode!r}; one of {', '.join(MODES)} needed")
    if length < 2:
        raise InputError(f"--length is {length}; at least 2 tokens needed")
    if Path(output).suffix.lower() != ".parquet":
        raise InputError(f"blocks are written as parquet, and {output} does not end in .parquet; give another name")
    formats.check_form("parquet")
    vocabulary = load_vocabulary(tokenizer)
    _check_codebook(units, vocabulary)
    counts = {"documents": 0, "skipped": 0, "tokens": 0, "blocks": 0}
    encode = _text_encoder(tokenizer) if mode != "speech" else _no_text
    documents = _documents(formats.read_all(units), vocabulary, encode, mode, columns, counts)
    rows = single(documents, length, counts) if mode == "instruction" else blocks(documents, length, vocabulary.eos)
    needed = {"speech": "any", "interleaved": "'text'", "instruction": f"{columns[0]!r} and {columns[1]!r}"}[mode]
    _write(Path(output), rows, counts, f"{needed}, of at most {length} tokens" if mode == "instruction" else needed)
    return Packed(**counts)


def blocks(documents: Iterable[tuple[list[int], list[int]]], length: int, padding: int) -> Iterator[dict[str, Any]]:
    """Documents end to end, cut into blocks; what is cut goes on in the next.

    Args:
        documents: token ids and labels of each.
        length: of a block.
        padding: token that fills the last.
    """
    ids: list[int] = []
    labels: list[int] = []
    starts: list[int] = []
    for document, wanted in documents:
        starts.append(len(ids))
        ids += document
        labels += wanted
        while len(ids) >= length:
            here = [start for start in starts if start < length]
            yield {"input_ids": ids[:length], "labels": labels[:length], "starts": here, "tokens": length}
            starts = [start - length for start in starts if start >= length]
            ids, labels = ids[length:], labels[length:]
    if ids:
        rest = length - len(ids)
        yield {
            "input_ids": ids + [padding] * rest,
            "labels": labels + [IGNORED] * rest,
            "starts": starts,
            "tokens": len(ids),
        }


def single(
    documents: Iterable[tuple[list[int], list[int]]], length: int, counts: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """Each document a row; those longer than ``length`` are skipped and counted."""
    for ids, labels in documents:
        if len(ids) > length:
            counts["documents"] -= 1
            counts["skipped"] += 1
        else:
            yield {"input_ids": ids, "labels": labels, "starts": [0], "tokens": len(ids)}


def _documents(
    records: Iterable[formats.Record],
    vocabulary: UnitVocabulary,
    encode: Text,
    mode: str,
    columns: tuple[str, str],
    counts: dict[str, int],
) -> Iterator[tuple[list[int], list[int]]]:
    for record in records:
        found = _document(record, vocabulary, encode, mode, columns, counts["documents"])
        counts["documents" if found else "skipped"] += 1
        if found:
            prompt, learned = found
            yield prompt + learned, [IGNORED] * len(prompt) + learned


def _document(
    record: formats.Record,
    vocabulary: UnitVocabulary,
    encode: Text,
    mode: str,
    columns: tuple[str, str],
    number: int,
) -> tuple[list[int], list[int]] | None:
    """Prompt, which is not learned, and the rest; None if something is missing."""
    speech, end = vocabulary.speech(record["units"]), [vocabulary.eos]
    if mode == "speech":
        return [], speech + end
    if mode == "interleaved":
        text = record.get("text")
        if not text:
            return None
        parts = [speech, encode(str(text))]
        first, second = parts if number % 2 == 0 else parts[::-1]
        return [], first + second + end
    question, answer = (record.get(column) for column in columns)
    if not question or not answer:
        return None
    return speech + encode(str(question)), encode(str(answer)) + end


def _check_codebook(units: str | Path, vocabulary: UnitVocabulary) -> None:
    """The folder's codebook, or that of the first record of a single file, must be the tokenizer's."""
    if Path(units).is_dir():
        meta = engine.read_meta(units)
        found, name = meta["codebook"], meta["origin"]
    else:
        found = name = next(formats.read_all(units), {}).get("codebook", vocabulary.codebook)
    if found != vocabulary.codebook:
        raise InputError(
            f"{units} holds units of the codebook {found} ({name}), the tokenizer is for {vocabulary.codebook}; "
            "make a tokenizer for that codebook"
        )


def _no_text(text: str) -> list[int]:
    raise AssertionError(text)


def _text_encoder(folder: str | Path) -> Text:
    from speechssl.units.language.tokens import _tokenizer

    tokenizer = _tokenizer(folder)
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False))


def _write(path: Path, rows: Iterator[dict[str, Any]], counts: dict[str, int], needed: str) -> None:
    """A file of all rows, or none if there is no row."""
    pyarrow, parquet = formats._arrow()
    ids = pyarrow.list_(pyarrow.int32())
    schema = pyarrow.schema([("input_ids", ids), ("labels", ids), ("starts", ids)])
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows, ROWS)):
            counts["blocks"] += len(group)
            counts["tokens"] += sum(row.pop("tokens") for row in group)
            writer.write_table(pyarrow.Table.from_pylist(group, schema))
        if not counts["documents"]:
            raise InputError(
                f"nothing to pack: {counts['skipped']} utterances and none with {needed}; encode again from a manifest "
                "that has it, or choose another --mode"
            )
