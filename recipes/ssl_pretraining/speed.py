"""How fast an encoder is on the processor, float32, in times real time.

    python recipes/ssl_pretraining/speed.py tiny --threads 2

Medians over a few runs of noise of 10 s and of a minute. Another process on the same cores slows the clock, not the
processor time, so the latter is printed too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import torch

from speechssl import encoders, errors
from speechssl.signals import Waveform


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", help="any name or file speechssl.load_encoder knows")
    parser.add_argument("--layer", type=int, default=None)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seconds", default="10,60")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = encoders.load(args.encoder, layer=args.layer, device="cpu", precision=args.precision)
    report: dict[str, Any] = {"origin": encoder.origin, "precision": args.precision, "threads": args.threads}
    for seconds in map(float, args.seconds.split(",")):
        torch.manual_seed(0)
        waveform = Waveform(0.1 * torch.randn(int(seconds * 16000)), 16000)
        encoder.encode(waveform)  # the first call allocates
        clocks, processors = [], []
        for _ in range(args.runs):
            clock, processor = time.perf_counter(), time.process_time()
            encoder.encode(waveform)
            clocks.append(time.perf_counter() - clock)
            processors.append(time.process_time() - processor)
        report[f"{seconds:g} s"] = {
            "times real time": round(seconds / statistics.median(clocks), 1),
            "a processor second": round(seconds / statistics.median(processors), 1),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    errors.run_recipe(main)
