"""A small GPT on units: does it know more of what comes next than counts of three units do?

Reads a folder that ``speechssl units encode --collapse`` made, trains transformers' GPT-2 from scratch on CPU, and
compares bits per unit on held-out utterances with a unigram and an interpolated trigram model.

    speechssl units encode MANIFEST.csv --codebook tiny/100 --output units
    python recipes/unit_lm/train.py units --results recipes/unit_lm/RESULTS.md
    python recipes/unit_lm/train.py --toy
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

Sequences = list[list[int]]


def toy(num_units: int = 6, utterances: int = 600, seed: int = 0) -> Sequences:
    """Sentences of a made-up language: words of so few units that two of them tell little of the word they are in."""
    rng = np.random.default_rng(seed)
    words = [rng.integers(0, num_units, rng.integers(5, 9)).tolist() for _ in range(8)]
    follows = [rng.permutation(8)[:2] for _ in range(8)]
    found = []
    for _ in range(utterances):
        word, sentence = int(rng.integers(8)), []
        for _ in range(10):
            sentence += words[word]
            word = int(follows[word][rng.integers(2)])
        found.append(sentence)
    return found


def read(folder: Path) -> tuple[Sequences, int, str]:
    """Units of every utterance, K, and their origin."""
    from speechssl.units import engine, formats

    meta = engine.read_meta(folder)
    return [record["units"] for record in formats.read_all(folder)], meta["num_units"], meta["origin"]


class Counts:
    """Interpolated n-grams: each order's estimate is mixed with the next lower one's (Witten and Bell 1991)."""

    def __init__(self, sequences: Sequences, num_units: int, order: int) -> None:
        self.order, self.size = order, num_units + 1  # and the end
        self.seen = [Counter[tuple[int, ...]]() for _ in range(order)]
        self.contexts = [Counter[tuple[int, ...]]() for _ in range(order)]
        self.kinds = [Counter[tuple[int, ...]]() for _ in range(order)]
        for sequence in sequences:
            for n in range(order):
                for i in range(len(padded := self._padded(sequence)) - order + 1):
                    gram = tuple(padded[i + order - 1 - n : i + order])
                    self.kinds[n][gram[:-1]] += gram not in self.seen[n]
                    self.seen[n][gram] += 1
                    self.contexts[n][gram[:-1]] += 1

    def _padded(self, sequence: Sequence[int]) -> list[int]:
        end = self.size - 1
        return [end] * (self.order - 1) + list(sequence) + [end]

    def probability(self, gram: tuple[int, ...]) -> float:
        """Of the last unit after the others."""
        share = 1 / self.size
        for n in range(self.order):
            part = gram[len(gram) - 1 - n :]
            total, kinds = self.contexts[n][part[:-1]], self.kinds[n][part[:-1]]
            if total:
                share = (self.seen[n][part] + kinds * share) / (total + kinds)
        return share

    def bits(self, sequences: Sequences) -> float:
        """Per unit, the ends counted as units."""
        total, number = 0.0, 0
        for sequence in sequences:
            padded = self._padded(sequence)
            for i in range(self.order - 1, len(padded)):
                total -= math.log2(self.probability(tuple(padded[i - self.order + 1 : i + 1])))
                number += 1
        return total / number


def blocks(sequences: Sequences, num_units: int, length: int) -> torch.Tensor:
    """(B, length + 1) training blocks: utterances end to end, each after the end mark."""
    stream = [num_units]
    for sequence in sequences:
        stream += [*sequence, num_units]
    count = (len(stream) - 1) // length
    return torch.tensor([stream[i * length : (i + 1) * length + 1] for i in range(count)])


def train(sequences: Sequences, num_units: int, args: argparse.Namespace) -> torch.nn.Module:
    """GPT-2 from scratch with a one-cycle learning rate."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(args.seed)
    config = GPT2Config(
        vocab_size=num_units + 1, n_positions=args.length, n_embd=args.width, n_layer=args.layers,
        n_head=max(1, args.width // 32), resid_pdrop=args.dropout, embd_pdrop=args.dropout, attn_pdrop=args.dropout,
        bos_token_id=num_units, eos_token_id=num_units,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.1, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, total_steps=args.steps, pct_start=0.1)
    data, start = blocks(sequences, num_units, args.length), time.perf_counter()
    for step in range(1, args.steps + 1):
        batch = data[torch.randint(len(data), (args.batch,))]
        loss = torch.nn.functional.cross_entropy(model(batch[:, :-1]).logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % args.every == 0:
            told = {"step": step, "bits": round(loss.item() / math.log(2), 3)}
            print(json.dumps({**told, "seconds": round(time.perf_counter() - start)}), flush=True)
    return model.eval()


@torch.inference_mode()
def bits(model: torch.nn.Module, sequences: Sequences, num_units: int, positions: int) -> float:
    """Per unit, the ends counted as units; long utterances in windows of which the second half counts."""
    total, number = 0.0, 0
    for sequence in sequences:
        ids = torch.tensor([num_units, *sequence, num_units])
        done = 1
        while done < len(ids):
            first = 0 if done == 1 else max(0, done - positions // 2)
            window = ids[first : first + positions + 1]
            logp = torch.log_softmax(model(window[None, :-1]).logits[0].double(), -1)
            told = -logp.gather(1, window[1:, None])[:, 0] / math.log(2)
            total += float(told[done - first - 1 :].sum())
            number += len(window) - (done - first)
            done = first + len(window)
    return total / number


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("units", type=Path, nargs="?", help="folder of units")
    parser.add_argument("--toy", action="store_true", help="a made-up language and a tiny model, in seconds")
    parser.add_argument("--results", type=Path, default=None)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    if args.toy:
        sequences, num_units, origin = toy(), 6, "toy"
        args.steps, args.width, args.layers, args.length, args.dropout, args.rate = 300, 64, 2, 64, 0.0, 6e-3
    elif args.units is None:
        parser.error("give a folder of units, or --toy")
    else:
        sequences, num_units, origin = read(args.units)
    order = np.random.default_rng(args.seed).permutation(len(sequences))
    held = set(order[: max(1, len(order) // 10)].tolist())
    training = [s for i, s in enumerate(sequences) if i not in held]
    testing = [s for i, s in enumerate(sequences) if i in held]
    model = train(training, num_units, args)
    found = {
        "unigram": Counts(training, num_units, 1).bits(testing),
        "trigram": Counts(training, num_units, 3).bits(testing),
        "gpt": bits(model, testing, num_units, args.length),
    }
    print(json.dumps(found))
    if args.results:
        sizes = f"{len(training)} utterances, {sum(map(len, training))} units to train on; {len(testing)} held out"
        args.results.write_text(page(found, origin, sizes, args, sum(p.numel() for p in model.parameters())))
    return found


def page(found: dict[str, float], origin: str, sizes: str, args: argparse.Namespace, parameters: int) -> str:
    """The results."""
    names = ("steps", "batch", "length", "width", "layers", "dropout", "rate", "seed")
    options = " ".join(f"--{name} {getattr(args, name)}" for name in names)
    rows = "\n".join(f"| {name} | {value:.3f} | {2**value:.1f} |" for name, value in found.items())
    return f"""# A language model over `{origin}`

{sizes}. GPT of {parameters / 1e6:.2f} million weights.

    python recipes/unit_lm/train.py UNITS {options}

| model | bits per collapsed unit | perplexity |
|---|---:|---:|
{rows}
"""


if __name__ == "__main__":
    main()
