"""Time to encode 10 s at layer 6 of WavLM-Large: ours in float32 and bfloat16 against transformers' full forward.

    python benchmarks/encoding.py             medians of 5 runs on 2 threads, and the ratios

The weights are random (the arithmetic does not care), the network has all 24 blocks for transformers, which runs them
all to give hidden states. The methods take turns, so that whatever else the machine does falls on all of them; on a
busy machine the ratio of processor times says more than that of the clock.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import transformers

from speechssl.encoders.network import Weights, build
from speechssl.signals import Waveform

# microsoft/wavlm-large
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "conv_bias": False,
}


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--layer", type=int, default=6)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = transformers.WavLMConfig(**LARGE)
    network = transformers.WavLMModel(config).eval()
    weights = Weights("wavlm-large", "random weights", config.to_dict(), network.state_dict(), normalise=None)
    waveform = Waveform(0.1 * torch.randn(int(args.seconds * 16000)), 16000)
    single, half = (
        build(weights, layer=args.layer, device=torch.device("cpu"), dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )

    def theirs() -> torch.Tensor:
        with torch.no_grad():
            outputs = network(waveform.samples[None], output_hidden_states=True)
        return outputs.hidden_states[args.layer][0]  # type: ignore[no-any-return]

    expected, ours, rough = theirs(), single.encode(waveform).frames, half.encode(waveform).frames
    methods: dict[str, Callable[[], object]] = {
        "transformers, float32": theirs,
        "ours, float32": lambda: single.encode(waveform),
        "ours, bfloat16": lambda: half.encode(waveform),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for _ in range(args.runs):
        for name, call in methods.items():
            times[name].append(seconds(call))
    medians = {name: [statistics.median(kind) for kind in zip(*values, strict=True)] for name, values in times.items()}
    print(f"medians of {args.runs} runs; {args.threads} threads")
    whole = medians["transformers, float32"]
    for name, (clock, processor) in medians.items():
        print(
            f"{name:22s} {clock:7.3f} s {whole[0] / clock:5.2f} x by the clock"
            f" {processor:8.3f} s {whole[1] / processor:5.2f} x of the processor"
        )
    cosine = torch.cosine_similarity(rough, ours)
    print(f"float32: largest difference to transformers {float((ours - expected).abs().max()):.1e}")
    print(f"bfloat16: cosine to float32, mean {float(cosine.mean()):.6f}, lowest {float(cosine.min()):.6f}")
    print(json.dumps({"seconds": args.seconds, "layer": args.layer, "threads": args.threads, "medians": medians}))


if __name__ == "__main__":
    main()
