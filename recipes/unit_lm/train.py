"""A small GPT on units: does it know more of what comes next than counts of a few units do?

Reads folders that ``speechssl units encode --collapse`` made, trains transformers' GPT-2 from scratch on CPU, and
compares bits per unit on utterances of the test folder with n-gram models. A part of the training folder, of speakers
of its own where the records name speakers, decides when to stop and which settings are better; the test folder decides
nothing.

    speechssl units encode TRAIN.csv --codebook tiny/100 --output units-train
    speechssl units encode DEV.csv --codebook tiny/100 --output units-dev
    python recipes/unit_lm/train.py units-train --test units-dev --results unit_lm.md
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
from typing import Any

import numpy as np
import torch

from speechssl import errors

Sequences = list[list[int]]
ORDERS = {"unigram": 1, "trigram": 3, "five-gram": 5}
PARTS = ("training", "validation", "testing")


def toy() -> Sequences:
    """Sentences of a made-up language: words of so few units that two of them tell little of the word they are in."""
    rng = np.random.default_rng(0)
    words = [rng.integers(0, 6, rng.integers(5, 9)).tolist() for _ in range(8)]
    follows = [rng.permutation(8)[:2] for _ in range(8)]
    found = []
    for _ in range(600):
        word, sentence = int(rng.integers(8)), []
        for _ in range(10):
            sentence += words[word]
            word = int(follows[word][rng.integers(2)])
        found.append(sentence)
    return found


def read(folder: Path) -> tuple[Sequences, list[str], int, str]:
    """Units and speaker of every utterance, K, and the origin of the units."""
    from speechssl.units.encoding import engine, formats

    meta = engine.read_meta(folder)
    records = list(formats.read_all(folder))
    # without speakers, every utterance stands for itself
    speakers = [str(record.get("speaker") or number) for number, record in enumerate(records)]
    return [record["units"] for record in records], speakers, meta["num_units"], meta["origin"]


def hold_out(sequences: Sequences, groups: Sequence[str], share: float, seed: int) -> tuple[Sequences, Sequences]:
    """What stays and what is held out: whole groups, until they hold about ``share`` of the units."""
    total, held, taken = sum(map(len, sequences)), set[str](), 0
    names = sorted(set(groups))
    # groups of more than the share would leave too little to train on, or one speaker to judge by
    for place in np.random.default_rng(seed).permutation(len(names)):
        size = sum(len(s) for s, group in zip(sequences, groups, strict=True) if group == names[place])
        if not held or taken + size <= share * total:
            held.add(names[place])
            taken += size
    kept = [s for s, group in zip(sequences, groups, strict=True) if group not in held]
    return kept, [s for s, group in zip(sequences, groups, strict=True) if group in held]


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


def end_to_end(sequences: Sequences, num_units: int) -> list[int]:
    """Utterances in one row, each after the end mark."""
    stream = [num_units]
    for sequence in sequences:
        stream += [*sequence, num_units]
    return stream


def crops(stream: torch.Tensor, count: int, length: int) -> torch.Tensor:
    """(count, length + 1) stretches from anywhere, so that no two epochs cut utterances alike."""
    length = min(length, len(stream) - 2)
    starts = torch.randint(len(stream) - length, (count,))
    return torch.stack([stream[start : start + length + 1] for start in starts.tolist()])


def train(
    sequences: Sequences, validation: Sequences, num_units: int, args: argparse.Namespace
) -> tuple[torch.nn.Module, list[dict[str, float]]]:
    """GPT-2 from scratch with a one-cycle learning rate; the weights that did best on the validation part.

    Stops when three looks at the validation part in a row were no better than the best one.
    """
    torch.manual_seed(args.seed)
    model = gpt(num_units, args).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.1, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, total_steps=args.steps, pct_start=0.1)
    stream, start = torch.tensor(end_to_end(sequences, num_units)), time.perf_counter()
    log: list[dict[str, float]] = []
    best: dict[str, torch.Tensor] = {}
    taken: list[float] = []
    for step in range(1, args.steps + 1):
        batch = crops(stream, args.batch, args.length)
        loss = torch.nn.functional.cross_entropy(model(batch[:, :-1]).logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        taken.append(loss.item() / math.log(2))
        if step % args.every == 0 or step == args.steps:
            held = bits(model.eval(), validation, num_units, args.length)
            model.train()
            # rounded only where they are printed: the best is found again by its exact bits
            log.append({"step": step, "training": sum(taken) / len(taken), "validation": held})
            told = {name: round(value, 4) for name, value in log[-1].items()}
            print(json.dumps({**told, "seconds": round(time.perf_counter() - start)}), flush=True)
            taken = []
            if held == min(row["validation"] for row in log):
                best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            if len(log) > 3 and min(row["validation"] for row in log[-3:]) > min(row["validation"] for row in log):
                break
    model.load_state_dict(best)
    return model.eval(), log


def gpt(num_units: int, args: argparse.Namespace) -> torch.nn.Module:
    """An untrained one; its last id is the end mark."""
    from speechssl.checkpoints import published

    library = published.transformers()
    return library.GPT2LMHeadModel(
        library.GPT2Config(
            vocab_size=num_units + 1, n_positions=args.length, n_embd=args.width, n_layer=args.layers,
            n_head=max(1, args.width // 32), resid_pdrop=args.dropout, embd_pdrop=args.dropout,
            attn_pdrop=args.dropout, bos_token_id=num_units, eos_token_id=num_units,
        )
    )  # fmt: skip


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
    args = parse(arguments)
    torch.set_num_threads(args.threads)
    if args.toy:
        sequences, num_units, origin = toy(), 6, "toy"
        speakers = [str(number) for number in range(len(sequences))]
        args.steps, args.width, args.layers, args.length, args.dropout, args.rate = 300, 64, 2, 64, 0.0, 6e-3
        args.every = 100
    else:
        sequences, speakers, num_units, origin = read(args.units)
    total = len(sequences)
    if args.test:
        testing, _, _, found_origin = read(args.test)
        if found_origin != origin:
            raise SystemExit(f"{args.test} holds {found_origin}, {args.units} holds {origin}; one codebook needed")
    else:
        sequences, testing = hold_out(sequences, speakers, 0.1, args.seed)
        speakers = [str(number) for number in range(len(sequences))]
    training, validation = hold_out(sequences, speakers, args.validation, args.seed + 1)
    if not (training and validation and testing):
        raise errors.InputError(
            f"{args.units} holds {total} utterances; some to train on, some to stop by and some to judge by needed: "
            "encode more recordings"
        )
    start = time.process_time()
    model, log = train(training, validation, num_units, args)
    minutes = (time.process_time() - start) / 60
    grams = {name: Counts(training, num_units, order) for name, order in ORDERS.items()}
    judged = validation if args.search else testing
    found = {name: counts.bits(judged) for name, counts in grams.items()}
    found["gpt"] = bits(model, judged, num_units, args.length)
    print(json.dumps({"bits on": "validation" if args.search else "test", **found}))
    if args.results:
        told = {
            "origin": origin,
            "training": (len(training), sum(map(len, training))),
            "validation": (len(validation), sum(map(len, validation))),
            "testing": (len(testing), sum(map(len, testing))),
            "weights": sum(p.numel() for p in model.parameters()),
            "minutes": minutes,
        }
        args.results.write_text(page(found, log, told, args), encoding="utf-8")
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("units", type=Path, nargs="?", help="folder of units to train on")
    parser.add_argument("--test", type=Path, help="folder of units to judge by; a tenth of the first if not given")
    parser.add_argument("--validation", type=float, default=0.06, help="share of the units that tells when to stop")
    parser.add_argument("--search", action="store_true", help="print validation bits instead, to choose settings by")
    parser.add_argument("--toy", action="store_true", help="a made-up language and a tiny model, in seconds")
    parser.add_argument("--results", type=Path, default=None)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--every", type=int, default=150, help="steps between looks at the validation part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    if args.units is None and not args.toy:
        parser.error("give a folder of units, or --toy")
    return args


def page(found: dict[str, float], log: list[dict[str, float]], told: dict[str, Any], args: argparse.Namespace) -> str:
    """The results."""
    names = ("steps", "batch", "length", "width", "layers", "dropout", "rate", "every", "seed")
    options = " ".join(f"--{name} {getattr(args, name)}" for name in names)
    rows = "\n".join(f"| {name} | {value:.3f} | {2**value:.1f} |" for name, value in found.items())
    best = min(log, key=lambda row: row["validation"])
    parts = ", ".join(f"{told[n][1]} units of {told[n][0]} utterances ({n})" for n in PARTS)
    return f"""# A language model over `{told["origin"]}`

    python recipes/unit_lm/train.py TRAIN --test DEV {options}

{parts}.

GPT-2 with {told["weights"] / 1e6:.2f} million weights, {told["minutes"]:.0f} minutes of one core. The weights of step
{best["step"]} did best on the validation part: {best["validation"]:.3f} bits there, {best["training"]:.3f} in training.
N-grams are interpolated (Witten and Bell 1991) and trained on the same part. The ends of utterances count as units.

| model | bits per collapsed unit of the test part | perplexity |
|---|---:|---:|
{rows}
"""


if __name__ == "__main__":
    errors.run_recipe(main)
