#!/usr/bin/env bash
# The demo and the quick tests in a fresh environment without the lock: the newest version of everything that pip finds,
# or the versions given. Says which packages differ from the lock where something fails.
#   .ci/fresh.sh [REQUIREMENT ...]      for example 'torch==2.9.*'
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p .venv
env=$(mktemp -d .venv/fresh-XXXXXX)
trap 'rm -rf "$env"' EXIT
python=$PWD/$env/bin/python

fail() {
    echo "FAILED: $1. Packages that differ from requirements/*.txt:"
    "$python" .ci/moved.py || true
    exit 1
}

"${PYTHON:-python3}" -m venv "$env"
echo "Installing ${*:-the newest versions} ..."
"$python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]' "$@" || fail "the installation"
"$python" -c 'import sys; from importlib.metadata import version; print("Python", sys.version.split()[0],
    *(f"{name} {version(name)}" for name in ("torch", "torchaudio", "transformers", "numpy", "gradio")))'
du -sh "$env" | sed 's/\t.*/ of environment/'
"$env/bin/speechssl" demo --output "$env/demo" || fail "the demo"
# the quick part: no recipes, no browser, no benchmarks, nothing that takes more than ten seconds
quick=(-m "not slow" --ignore-glob='*/tests/recipes/*' --ignore-glob='*/test_browser*' --ignore-glob='*/test_benchmarks*')
"$python" -m pytest -q -n 2 "${quick[@]}" || fail "the quick tests"
echo "passed: the demo and the quick tests"
