"""Encode the bundled references with a packaged encoder, so that nobody waits for their voices.

    python recipes/clips/encode.py

Writes one voice file a reference to ``speechssl/models/tiny/voices`` and removes those that were there. Run it again
after another encoder or another analysis was packaged: the tests compare the files with voices built anew.
"""

from __future__ import annotations

import argparse
import json

from speechssl import checkpoints, errors, voices
from speechssl.conversion.bundles import load_bundle
from speechssl.voices import packaged
from speechssl.voices.clips import clips


def main(arguments: list[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(
        arguments
    )
    packaged.FOLDER.mkdir(parents=True, exist_ok=True)
    for old in packaged.FOLDER.iterdir():
        old.unlink()  # or it would be taken instead of the recording
    system = load_bundle("tiny", device="cpu")
    for clip in clips():
        if clip.role == "reference":
            path = voices.save(
                packaged.place(checkpoints.sha256_of(clip.path)), system.matching_set([clip.path], name="")
            )
            path.chmod(0o644)
            print(json.dumps({"voice": clip.voice, "file": path.name, "megabytes": path.stat().st_size / 1e6}))


if __name__ == "__main__":
    errors.run_recipe(main)
