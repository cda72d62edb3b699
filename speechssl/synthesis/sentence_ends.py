"""Where sentences end: sentencex decides, and what it cannot know about texts that are read aloud comes after."""

from __future__ import annotations

import re
from collections.abc import Iterator

from speechssl.synthesis.languages.rules import Language

_CLOSING = "\"'”’)]»›"
# full stops that sentencex takes for those of initials, ordinals or quotations: in brackets, and after a unit of one
# letter, a sign, or a Roman numeral in front of a German word that begins sentences
_SHORT = re.compile(r"\b[^\W\d]{1,4}\.$")
_MORE = re.compile(
    rf"\.(?=[)\]][{re.escape(_CLOSING)}]*\s+[A-Z\"“‘(])|(?:(?<=\d [a-z])|(?<=\d[a-z]))\.(?=\s+[A-Z])"
    r"|(?<=\betc)\.(?=\s+[A-Z])|(?<=[%€$£‰°])\.(?=\s)|(?<=[IVX])\.(?=\s+(?:Der|Die|Das|Er|Sie|Es|Wir|Ich|Dann|Im|Am)\b)"
)


def places(text: str, rules: Language) -> Iterator[int]:
    """The places after the full stops that end a sentence; a quotation mark or a bracket may follow.

    Args:
        text: one paragraph, in which a new line is a space.
        rules: of its language; ``goes_on`` says after which full stops sentencex is not right.
    """
    import sentencex

    at = 0
    for sentence in sentencex.segment(rules.code.partition("-")[0], text.replace("\n", " ")):
        at += len(sentence)
        end = at - len(sentence) + len(sentence.rstrip().rstrip(_CLOSING).rstrip())
        if at < len(text) and text[at].islower() and text.lstrip()[:1].isupper() and _SHORT.search(text[:end]):
            continue  # an abbreviation that nobody knows, in a text whose sentences begin with capitals
        if at >= len(text) or not rules.goes_on.search(text[max(0, end - 40) : end] + "\0" + text[at : at + 20]):
            yield end
    for match in _MORE.finditer(text):
        yield match.end()
