"""Look the locked versions up in the database of known vulnerabilities; `make audit` runs this.

Exit status 1 where one has a vulnerability. Where the database cannot be reached, that is said and no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def audited(name: str) -> list[dict[str, Any]]:
    """What pip-audit found about each requirement of one lock file that the database knows; nothing if out of reach."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"),
        *("--disable-pip", "--require-hashes", "--requirement", f"requirements/{name}.txt"),
    ]  # fmt: skip
    answer = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    if not answer.stdout.startswith("{"):
        print(answer.stderr.strip().rpartition("\n")[2])
        return []
    return [one for one in json.loads(answer.stdout)["dependencies"] if "skip_reason" not in one]


def main() -> int:
    found = []
    for name in ("build", "torch", "dev", "docs"):
        known = audited(name)
        if not known:
            print(f"NOT AUDITED: the database of vulnerabilities cannot be reached, asked for requirements/{name}.txt.")
            return 0
        print(f"requirements/{name}.txt: {len(known)} versions looked up")
        found += [(one, vulnerability) for one in known for vulnerability in one["vulns"]]
    for one, vulnerability in found:
        mended = ", ".join(vulnerability["fix_versions"]) or "none yet"
        print(f"  {one['name']} {one['version']}: {vulnerability['id']}, mended in {mended}")
    print(f"{len(found)} known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
