"""Written texts as they are to be read: Markdown without its marks, and paragraphs whose lines belong together.

Markdown is parsed by markdown-it-py. Marks, link targets, tables and blocks of code are not read; a remark says so of
the last two, which hold something to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from markdown_it.token import Token

NARROWEST = 40  # characters; nobody wraps prose into shorter lines
MANY = {"table": "tables", "block of code": "blocks of code"}
SENTENCE = 3  # words of a line that may go on, in lower case, in the next one

# signs of Markdown that no other text has by chance
_MARKDOWN = re.compile(
    r"^#{1,6} \S|^ {0,3}(?:```|~~~)|^ {0,3}\|?\s*:?-+:?\s*\||^ {0,3}[*+-] \S|^> \S"
    r"|\[[^\]\n]+\]\([^)\s]+\)|\*\*\S[^*\n]*\*\*|(?<!\w)__\S[^_\n]*__(?!\w)|`[^`\n]+`"
    r"|(?<![\w*])\*[^\s*][^*\n]*(?<!\s)\*(?![\w*])|(?<![\w_])_[^\s_][^_\n]*(?<!\s)_(?!\w)",
    re.MULTILINE,
)
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\s*\n", re.DOTALL)
_ITEM = re.compile(r"\s*(?:[-*+•‣◦▪–—]\s|\(?(?:\d{1,3}|[a-z])[.)]\s|[A-Z]\)\s)")
_BLANK = re.compile(r"\n[^\S\n]*\n\s*|[\f\v\x1c-\x1e\u2029]+")


class Plain(NamedTuple):
    """A text without marks.

    Args:
        text: what is read; places of words and sentences are places in it.
        remarks: what is not read.
    """

    text: str
    remarks: tuple[str, ...] = ()


def plain(text: str) -> Plain:
    """The text to read of any text; one without signs of Markdown stays as it is, but for the ends of its lines."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n")
    if not _MARKDOWN.search(text):
        return Plain(text)
    from markdown_it import MarkdownIt

    # an indented paragraph is prose, and 2*3*4 is a product
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable(["code"])
    text = re.sub(r"(?<=\d)\*(?=\d)", r"\\*", _FRONT_MATTER.sub("", text))
    written, skipped = _rendered(parser.parse(text))
    remarks = tuple(f"{_several(skipped.count(what), what)} not read" for what in dict.fromkeys(skipped))
    return Plain(written, remarks)


def blocks(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch in which a new line is but a space: a paragraph, an item, a heading."""
    start = 0
    for blank in (*_BLANK.finditer(text), None):
        end = len(text) if blank is None else blank.start()
        yield from _lines(text, start, end)
        start = end if blank is None else blank.end()


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    lines = text[start:end].split("\n")
    width = max(map(len, lines))
    begins = at = start
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        at += len(line) + 1
        if at > end or not _goes_on(line.rstrip(), following.strip(), width):
            if text[begins : at - 1].strip():
                yield begins, at - 1
            begins = at


def _goes_on(line: str, following: str, width: int) -> bool:
    """Whether a sentence goes on in the next line, because the next word did not fit, or is none to begin with."""
    if not line or not following or _ITEM.match(following) or line.endswith(":"):
        return False
    if line.endswith((",", ";", "-")) and len(line.split()) > 1:
        return True
    words = following.split(maxsplit=1)
    if width >= NARROWEST and len(line) + 1 + len(words[0]) > width:
        return True
    return following[0].islower() and len(line.split()) >= SENTENCE and not line.endswith((".", "!", "?"))


def _several(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count} {MANY[what]} are"


def _rendered(tokens: Sequence[Token]) -> tuple[str, list[str]]:
    parts: list[str] = []
    skipped: list[str] = []
    in_table = False
    for token in tokens:
        if token.type == "table_open":
            in_table = True
            skipped.append("table")
        elif token.type == "table_close":
            in_table = False
        elif token.type == "fence":
            skipped.append("block of code")
        elif token.type == "list_item_open" and token.info:
            parts.append(f"{token.info}{token.markup} ")
        elif token.type == "html_block":
            parts.append(re.sub(r"<[^>]*>", " ", token.content).strip() + "\n\n")
        elif token.type == "inline" and not in_table:
            text = "".join(map(_inline, token.children or ())).strip()
            parts.append(re.sub(r"\A\[[ xX]\]\s+", "", text) + "\n\n")
    return "".join(parts), skipped


def _inline(token: Token) -> str:
    if token.type in ("text", "text_special", "code_inline", "image"):
        return token.content
    return {"softbreak": "\n", "hardbreak": "\n\n"}.get(token.type, "")
