"""Call the independent judges on converted files, and make one table of what they say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from pairs import Pair

METRICS = {
    "closer to target, GE2E": ("ge2e_closer_ref", 100, "%"),
    "judge's conversion EER, GE2E": ("ge2e_vc_eer", 100, "%"),
    "judge's conversion EER, d-vector": ("dvec_vc_eer", 100, "%"),
    "similarity to target, GE2E": ("ge2e_tgt", 1, ""),
    "word error rate, Whisper": ("whisper_wer", 100, "%"),
    "word error rate of the sources": ("whisper_wer_of_source", 100, "%"),
    "phone errors, hama": ("hama_per", 100, "%"),
    "speech frames lost": ("lost_frames", 100, "%"),
    "DNSMOS overall": ("ovrl", 1, ""),
    "DistillMOS": ("distillmos", 1, ""),
    "STOI": ("stoi", 1, ""),
    "F0 correlation": ("f0_corr", 1, ""),
}


def run(
    judge: Path, pairs: list[Pair], outputs: dict[str, Path], folder: Path, *, only: str, copies: bool = False
) -> dict[str, Any]:
    """Scores of the judges in ``judge``, a folder set up by its own ``setup.sh``; items and scores go to ``folder``.

    ``copies``: the outputs say what the sources say in the same voice, so that both can be compared sample by sample.
    """
    if not copies:
        only = ",".join(name for name in only.split(",") if name != "copy")
    items = folder / "items.jsonl"
    with items.open("w") as file:
        for pair in pairs:
            file.write(json.dumps(_item(pair, outputs[pair.name], copies)) + "\n")
    python = judge / "venv" / "bin" / "python"
    command = [
        str(python),
        str(judge / "judge.py"),
        "vc",
        str(items),
        "--only",
        only,
        "--out",
        str(folder / "scored.jsonl"),
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (folder / "judge.txt").write_text(text)
    return summary(text)


def summary(text: str) -> dict[str, Any]:
    """Mean and 95 % interval by metric, from the lines the judge prints after its items."""
    result: dict[str, Any] = {}
    for line in text.splitlines():
        parts = line.replace("[", " ").replace("]", " ").replace(",", " ").split()
        if not line.startswith("{") and len(parts) >= 2 and _is_number(parts[1]):
            result[parts[0]] = [float(part) for part in parts[1:] if _is_number(part)]
    return result


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: a row a metric, a column a system."""
    lines = ["| measure | " + " | ".join(results) + " |", "|---|" + "---|" * len(results)]
    for label, (key, scale, unit) in METRICS.items():
        cells = [_cell(result.get(key), scale, unit) for result in results.values()]
        if any(cell != "-" for cell in cells):
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float] | None, scale: float, unit: str) -> str:
    if not values:
        return "-"
    shown = [f"{value * scale:.3g}" for value in values[:3]]
    return f"{shown[0]}{unit}" + (f" [{shown[1]}, {shown[2]}]" if len(shown) == 3 else "")


def _item(pair: Pair, converted: Path, copied: bool) -> dict[str, Any]:
    item: dict[str, Any] = {
        "id": pair.name,
        "converted": str(converted.resolve()),
        "source": str(pair.source.path.resolve()),
        "target": pair.target,
        "target_refs": [str(path.resolve()) for path in pair.target_refs],
        "source_refs": [str(path.resolve()) for path in pair.source_refs],
    }
    if copied:
        item["reference"] = item["source"]
    return item | ({"text": pair.source.text} if pair.source.text else {})


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
