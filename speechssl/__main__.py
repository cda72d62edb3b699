"""``python -m speechssl``: the command line."""

from __future__ import annotations

from speechssl.cli import main

if __name__ == "__main__":
    main()
