"""Units for language models: tokens, BPE and blocks that lose nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechssl.errors import CheckpointError, InputError
from speechssl.units.codebooks.codebook import Codebook
from speechssl.units.language import bpe, pack, tokens

TEXT = ["the cat sat on the mat", "units of speech <unit_1>?", "Straße, naïve & 日本語", "a b c 1 2 3", "<speech"] * 3
KINDS = ("bytes", "words", "unigram")


def book(k: int = 9, seed: int = 0) -> Codebook:
    return Codebook(np.random.default_rng(seed).normal(size=(1, k, 4)).astype(np.float32), "small/2", 50.0)


def base_tokenizer(folder: Path, kind: str, eos: str | None = "<eos>") -> Any:
    """A tokenizer of transformers, made on the spot."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = [name for name in ("<unk>", eos) if name]
    if kind == "bytes":
        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer: Any = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    elif kind == "words":
        inner = Tokenizer(models.WordPiece(unk_token="<unk>"))
        inner.normalizer, inner.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
        inner.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special)
    else:
        inner = Tokenizer(models.Unigram())
        inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=special, unk_token="<unk>")
    trainer.show_progress = False
    inner.train_from_iterator(TEXT, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token=eos)
    tokenizer.save_pretrained(folder)
    return tokenizer


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(KINDS), k=st.integers(1, 40), eos=st.sampled_from(["<eos>", None]), seed=st.integers(0, 99))
def test_no_old_id_moves(
    tmp_path_factory: pytest.TempPathFactory, kind: str, k: int, eos: str | None, seed: int
) -> None:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    base = base_tokenizer(folder / "base", kind, eos)
    vocabulary = tokens.extend(folder / "base", book(k, seed), folder / "extended")
    extended = AutoTokenizer.from_pretrained(folder / "extended")
    old, new = base.get_vocab(), extended.get_vocab()
    assert all(new[token] == number for token, number in old.items())
    added = {token: number for token, number in new.items() if token not in old}
    assert sorted(added) == sorted([*(f"<unit_{i}>" for i in range(k)), "<speech>", "</speech>"])
    assert min(added.values()) >= len(old)
    assert len(set(new.values())) == len(new) == vocabulary.size
    # text is tokenised as before, units as one token each, also when they touch
    for text in ("the mat", "naïve Straße", "1 2 3"):
        assert extended.encode(text) == base.encode(text)
    ids = np.random.default_rng(seed).integers(0, k, 30).tolist()
    said = "<speech>" + "".join(f"<unit_{unit}>" for unit in ids) + "</speech>"
    assert extended.encode(said, add_special_tokens=False) == vocabulary.speech(ids)
    assert [vocabulary.units.index(token) for token in vocabulary.speech(ids)[1:-1]] == ids
    assert tokens.load_vocabulary(folder / "extended") == vocabulary


def test_embeddings_start_where_the_model_is(tmp_path: Path) -> None:
    import torch
    from safetensors.numpy import load_file
    from safetensors.torch import save_file

    base_tokenizer(tmp_path / "base", "bytes")
    rows = torch.randn(300, 64, generator=torch.Generator().manual_seed(0)) * 0.3 + 1.5
    save_file({"model.embed_tokens.weight": rows.bfloat16()}, tmp_path / "base" / "model.safetensors")
    found = book(50)
    vocabulary = tokens.extend(tmp_path / "base", found, tmp_path / "out")
    written = load_file(tmp_path / "out" / tokens.EMBEDDINGS)
    new = written["embeddings"]
    assert written["tokens"].tolist() == [*vocabulary.units, vocabulary.begin, vocabulary.end]
    assert new.shape == (52, 64)
    assert new.mean(0) == pytest.approx(rows.numpy().mean(0), abs=0.02)
    assert np.sqrt(((new[:50] - new[50]) ** 2).mean()) == pytest.approx(0.3, rel=0.05)
    # units that sound alike start alike
    apart = np.linalg.norm(found.centroids[0][:, None] - found.centroids[0], axis=2)
    started = np.linalg.norm(new[:50, None] - new[:50], axis=2)
    assert np.corrcoef(apart.ravel(), started.ravel())[0, 1] > 0.9


def test_what_cannot_be_extended(tmp_path: Path) -> None:
    base_tokenizer(tmp_path / "base", "bytes")
    tokens.extend(tmp_path / "base", book(), tmp_path / "out")
    with pytest.raises(InputError, match="is not empty"):
        tokens.extend(tmp_path / "base", book(), tmp_path / "out")
    with pytest.raises(InputError, match="has '<unit_0>' already"):
        tokens.extend(tmp_path / "out", book(), tmp_path / "twice")
    with pytest.raises(CheckpointError, match="no tokenizer"):
        tokens.extend(tmp_path / "nothing", book(), tmp_path / "none")
    levels = Codebook(np.zeros((2, 3, 4), np.float32), "small/2", 50.0, "rvq")
    with pytest.raises(InputError, match="2 codes a frame"):
        tokens.extend(tmp_path / "base", levels, tmp_path / "levels")
    vocabulary = tokens.load_vocabulary(tmp_path / "out")
    with pytest.raises(InputError, match="unit 9; the tokenizer has 0 to 8"):
        vocabulary.speech([1, 9])


def test_half_a_tokenizer_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base_tokenizer(tmp_path / "base", "bytes")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokens, "write_text", full)
    with pytest.raises(CheckpointError, match=r"cannot write .*out .*No space left on device.*nothing was left behind"):
        tokens.extend(tmp_path / "base", book(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


UNITS = st.lists(st.integers(0, 11), max_size=120)


@settings(max_examples=60, deadline=None)
@given(training=st.lists(UNITS, min_size=1, max_size=8), unseen=UNITS, size=st.integers(12, 60))
def test_bpe_is_lossless_both_ways(training: list[list[int]], unseen: list[int], size: int) -> None:
    model = bpe.train(training, num_units=12, size=size)
    assert 12 <= model.size <= size
    for sequence in [*training, unseen]:
        assert model.decode(model.encode(sequence)) == sequence
    # and tokens survive being turned into units and back as units do
    for token in range(model.size):
        units = model.decode([token])
        assert model.decode(model.encode(units)) == units


def test_bpe_shortens_what_repeats_and_can_be_stored(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = [rng.integers(0, 20, rng.integers(3, 8)).tolist() for _ in range(15)]
    sequences = [[unit for _ in range(20) for unit in words[rng.integers(15)]] for _ in range(50)]
    model = bpe.train(sequences, num_units=20, size=200, codebook="abc")
    assert model.compression(sequences) > 2.5
    again = bpe.load(model.save(tmp_path / "bpe.json"))
    assert (again.size, again.num_units, again.codebook) == (model.size, 20, "abc")
    assert again.encode(sequences[0]) == model.encode(sequences[0])
    with pytest.raises(InputError, match="units from 3 to 20"):
        model.encode([3, 20])
    with pytest.raises(InputError, match="token"):
        model.decode([model.size])
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(CheckpointError, match="make it again"):
        bpe.load(tmp_path / "bad.json")


DOCUMENTS = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=30), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(documents=DOCUMENTS, length=st.integers(2, 17))
def test_blocks_hold_every_token_once(documents: list[list[int]], length: int) -> None:
    rows = list(pack.blocks(((d, d) for d in documents), length, padding=7))
    everything = [token for document in documents for token in document]
    real = [token for row in rows for token in row["input_ids"][: row["tokens"]]]
    assert real == everything
    assert all(len(row["input_ids"]) == len(row["labels"]) == length for row in rows)
    assert all(row["tokens"] == length for row in rows[:-1])
    assert [label for row in rows for label in row["labels"] if label != pack.IGNORED] == everything
    # the starts cut the tokens into the documents again
    starts = [number * length + start for number, row in enumerate(rows) for start in row["starts"]]
    assert [everything[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)] == documents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of units and the tokenizer for it."""
    found = book()
    base_tokenizer(tmp_path / "base", "bytes")
    tokens.extend(tmp_path / "base", found, tmp_path / "tokenizer")
    (tmp_path / "units").mkdir()
    meta = {
        "kind": "units", "codebook": found.fingerprint, "origin": found.origin, "frame_rate": found.frame_rate,
        "num_units": found.num_units, "form": "plain", "collapsed": True, "recordings": 6, "block": 100, "ids": "kept",
    }  # fmt: skip
    (tmp_path / "units" / "meta.json").write_text(json.dumps(meta))
    rng = np.random.default_rng(0)
    with (tmp_path / "units" / "part-00000.jsonl").open("w") as file:
        for number in range(6):
            row = {"id": str(number), "units": rng.integers(0, 9, 20).tolist(), "text": f"the cat {number}"}
            if number == 2:
                row |= {"question": "what?", "answer": "a cat"}
            if number == 4:
                del row["text"]
            file.write(json.dumps(row) + "\n")
    return tmp_path


def test_packed_blocks_are_read_by_datasets(folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    found = pack.pack(folder / "units", folder / "tokenizer", folder / "blocks.parquet", length=32)
    assert (found.documents, found.tokens, found.blocks, found.skipped) == (6, 6 * 23, 5, 0)
    rows = datasets.load_dataset(
        "parquet", data_files=str(folder / "blocks.parquet"), cache_dir=str(folder / "cache"), split="train"
    )
    vocabulary = tokens.load_vocabulary(folder / "tokenizer")
    stream = [token for row in rows for token in row["input_ids"]][: found.tokens]
    first = json.loads((folder / "units" / "part-00000.jsonl").read_text().splitlines()[0])
    assert stream[:23] == [*vocabulary.speech(first["units"]), vocabulary.eos]
    assert rows[0]["starts"] == [0, 23]


def test_interleaved_turns_and_instructions_hide_the_prompt(folder: Path) -> None:
    import pyarrow.parquet as parquet
    from transformers import AutoTokenizer

    text = AutoTokenizer.from_pretrained(folder / "tokenizer")
    found = pack.pack(folder / "units", folder / "tokenizer", folder / "b.parquet", length=16, mode="interleaved")
    assert (found.documents, found.skipped) == (5, 1)
    stream = [token for row in parquet.read_table(folder / "b.parquet").to_pylist() for token in row["input_ids"]]
    documents = "".join(text.convert_ids_to_tokens(stream)).split("<eos>")[:5]
    assert [document.startswith("<speech>") for document in documents] == [True, False, True, False, True]
    found = pack.pack(folder / "units", folder / "tokenizer", folder / "c.parquet", mode="instruction")
    (row,) = parquet.read_table(folder / "c.parquet").to_pylist()
    assert (found.documents, found.skipped) == (1, 5)
    learned = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != pack.IGNORED]
    assert text.decode(learned).strip().startswith("a cat")
    assert "what?" in text.decode(row["input_ids"][: -len(learned)])


def test_nothing_to_pack_leaves_no_file(folder: Path) -> None:
    for columns in (("summary", "answer"), ("question", "answer")):
        with pytest.raises(InputError, match=rf"6 utterances and none with '{columns[0]}' and 'answer', of at most 8"):
            pack.pack(
                folder / "units", folder / "tokenizer", folder / "none.parquet", length=8, mode="instruction",
                columns=columns,
            )  # fmt: skip
    assert not [path for path in folder.iterdir() if "none.parquet" in path.name]


def test_units_of_another_codebook_are_not_packed(folder: Path) -> None:
    tokens.extend(folder / "base", book(seed=1), folder / "other")
    with pytest.raises(InputError, match=book().fingerprint):
        pack.pack(folder / "units", folder / "other", folder / "x.parquet")
    assert not (folder / "x.parquet").exists()
    # a part of a text names no codebook; the folder does
    text = folder / "units" / "part-00000.txt"
    text.write_text("0\t1 2 3\n")
    with pytest.raises(InputError, match=book().fingerprint):
        pack.pack(text, folder / "other", folder / "x.parquet")


def test_blocks_are_not_written_to_a_name_of_another_format(folder: Path) -> None:
    with pytest.raises(InputError, match=r"blocks\.jsonl does not end in \.parquet"):
        pack.pack(folder / "units", folder / "tokenizer", folder / "blocks.jsonl")
