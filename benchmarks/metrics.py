"""Time and memory of the metrics on a million trials: ``python benchmarks/metrics.py``."""

from __future__ import annotations

import json
import resource
import time

import numpy as np

from speechssl.verification import evaluation, metrics


def main() -> None:
    """Score a million trials of 192 numbers a side, then measure everything once."""
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(2000, 192))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    first, second = rng.integers(0, 2000, (2, 1_000_000))
    labels = rng.random(1_000_000) < 0.3
    began, cpu = time.perf_counter(), time.process_time()
    scores = evaluation.cosines(unit, first, second) + 0.3 * labels
    scored = time.process_time()
    curve = metrics.roc(scores, labels)
    found = {
        "eer": curve.eer(),
        "eer_interpolated": curve.eer_interpolated(),
        "min_dcf": curve.min_dcf(0.01),
        "act_dcf": metrics.act_dcf(scores, labels, prior=0.01),
        "cllr": metrics.cllr(scores, labels),
        "min_cllr": curve.min_cllr(),
    }
    metrics.det_points(scores, labels)
    done = time.process_time()
    print(json.dumps({name: round(value, 6) for name, value in found.items()}))
    print(
        json.dumps(
            {
                "scoring_cpu_s": round(scored - cpu, 2),
                "metrics_cpu_s": round(done - scored, 2),
                "wall_s": round(time.perf_counter() - began, 2),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
