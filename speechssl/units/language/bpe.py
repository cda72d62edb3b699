"""Byte-pair encoding over units: frequent sequences of units become one token. Lossless both ways."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechssl import errors
from speechssl.checkpoints import foreign, write_text
from speechssl.errors import CheckpointError, InputError

# units are written as characters of a private plane of Unicode, which no normalisation touches
FIRST = 0xF0000
MOST_UNITS = 0xFFFE
WORD = 64  # units a piece may span in training; longer repeats are noise, and pieces keep training linear


@dataclass(frozen=True, eq=False)
class UnitBPE:
    """Units to tokens and back.

    Args:
        tokenizer: of ``tokenizers``.
        num_units: K.
        codebook: fingerprint of the units' codebook; empty if unknown.
    """

    tokenizer: Any
    num_units: int
    codebook: str = ""

    @property
    def size(self) -> int:
        """Tokens: K units and the merges."""
        return int(self.tokenizer.get_vocab_size())

    def encode(self, units: Sequence[int]) -> list[int]:
        """Token ids of a sequence of units.

        Raises:
            InputError: a unit outside 0 ... K - 1.
        """
        return self.tokenizer.encode(_text(units, self.num_units)).ids

    def decode(self, tokens: Sequence[int]) -> list[int]:
        """The units of tokens.

        Raises:
            InputError: a token that does not exist.
        """
        pieces = [self.tokenizer.id_to_token(token) for token in tokens]
        if None in pieces:
            raise InputError(f"token {tokens[pieces.index(None)]}; 0 to {self.size - 1} needed")
        return [ord(character) - FIRST for piece in pieces for character in piece]

    def compression(self, sequences: Iterable[Sequence[int]]) -> float:
        """Units per token, over all sequences."""
        units = tokens = 0
        for sequence in sequences:
            units += len(sequence)
            tokens += len(self.encode(sequence))
        return units / max(1, tokens)

    def save(self, path: str | Path) -> Path:
        """Write one JSON file, ``tokenizers``' own with two facts beside.

        Raises:
            CheckpointError: the place cannot be written to.
        """
        facts = {"num_units": self.num_units, "codebook": self.codebook, "bpe": json.loads(self.tokenizer.to_str())}
        write_text(Path(path), json.dumps(facts, ensure_ascii=False) + "\n")
        return Path(path)


def train(
    sequences: Iterable[Sequence[int]], *, num_units: int, size: int, codebook: str = "", min_frequency: int = 2
) -> UnitBPE:
    """Learn merges.

    Args:
        sequences: collapsed units of utterances.
        num_units: K; all of them are tokens, seen or not.
        size: tokens in all, at least K; fewer if no pair is left that comes often enough.
        codebook: fingerprint.
        min_frequency: of a pair that is merged.
    Raises:
        InputError: a size below K, too many units for one plane, or a unit that does not exist.
    """
    with errors.importing("tokenizers", purpose="byte-pair encoding", extra="units"):
        from tokenizers import Tokenizer, models, trainers

    if not 1 <= num_units <= MOST_UNITS or size < num_units:
        raise InputError(
            f"{size} tokens for {num_units} units; at least as many, and at most {MOST_UNITS} units, needed"
        )
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        initial_alphabet=[chr(FIRST + unit) for unit in range(num_units)],
        show_progress=False,
    )
    pieces = (_text(s[i : i + WORD], num_units) for s in sequences for i in range(0, len(s), WORD))
    tokenizer.train_from_iterator(pieces, trainer)
    return UnitBPE(tokenizer, num_units, codebook)


def load(path: str | Path) -> UnitBPE:
    """Read what ``UnitBPE.save`` wrote.

    Raises:
        CheckpointError: missing or damaged.
    """
    with errors.importing("tokenizers", purpose="byte-pair encoding", extra="units"):
        from tokenizers import Tokenizer

    if not Path(path).exists():
        raise CheckpointError(f"{path} does not exist; make it with `speechssl units bpe`")
    try:
        facts = foreign.read_object(path)
        return UnitBPE(Tokenizer.from_str(json.dumps(facts["bpe"])), int(facts["num_units"]), str(facts["codebook"]))
    # tokenizers raises bare Exception
    except Exception as error:
        raise CheckpointError(f"{path} is no BPE over units ({errors.first_line(error)}); make it again") from error


def _text(units: Sequence[int], num_units: int) -> str:
    if len(units) and not 0 <= min(units) <= max(units) < num_units:
        raise InputError(f"units from {min(units)} to {max(units)}; 0 to {num_units - 1} needed")
    return "".join(chr(FIRST + unit) for unit in units)
