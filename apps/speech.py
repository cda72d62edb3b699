"""The front end as a script: ``python apps/speech.py``; ``speechssl app`` has the options.

``demo`` is the page, for tools that look for it; ``build`` takes a ``Workshop`` with settings of your own.
"""

from __future__ import annotations

from speechssl.app.page import build
from speechssl.app.service import serve
from speechssl.app.state import Settings, Workshop

if __name__ == "__main__":
    serve(browser=True)
else:
    demo = build(Workshop(Settings()))
