"""The pages themselves: found, linked, short, with numbers that a results file has, and answers that search finds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs_pages import (
    COMMAND_PAGES,
    COMMANDS,
    GENERATED,
    HOOKS,
    PAGES,
    READ_FIRST,
    ROOT,
    in_navigation,
    prose,
    settings,
)

import speechssl
from speechssl import cli

EVERY = {**PAGES, **{f"../{name}": text for name, text in READ_FIRST.items()}}
MOST_WORDS = 1200


def _slug(heading: str) -> str:
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain.lower()).strip())


def _headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose(text), flags=re.MULTILINE)


def test_there_are_pages_enough_and_each_is_in_the_navigation() -> None:
    assert len(PAGES) >= 30
    listed = set(in_navigation())
    assert set(PAGES) <= listed
    assert {page for page in listed if page.endswith(".md")} <= {*PAGES, *GENERATED}


@pytest.mark.parametrize("page", [*PAGES, *COMMAND_PAGES])
def test_no_page_is_long_and_each_begins_with_its_title(page: str) -> None:
    text = PAGES.get(page) or COMMAND_PAGES[page]
    assert text.startswith("# ")
    assert len(text.split()) <= MOST_WORDS


@pytest.mark.parametrize("page", EVERY)
def test_every_link_leads_somewhere(page: str) -> None:
    folder = (ROOT / "docs" / page).parent
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", prose(EVERY[page])):
        path = Path(folder, target).resolve() if target else (ROOT / "docs" / page).resolve()
        inside = path.relative_to(ROOT / "docs").as_posix() if path.is_relative_to(ROOT / "docs") else ""
        assert path.exists() or inside in GENERATED, (page, target)
        if anchor and path.suffix == ".md" and path.exists():
            assert anchor in map(_slug, _headings(path.read_text(encoding="utf-8"))), (page, target, anchor)
    for target in re.findall(r'\bsrc="([^"]+)"', EVERY[page]):
        inside = Path(folder, target).resolve().relative_to(ROOT / "docs").as_posix()
        assert inside in GENERATED or (ROOT / "docs" / inside).exists(), (page, target)


@pytest.mark.parametrize("page", PAGES)
def test_every_number_is_in_a_results_file(page: str) -> None:
    assert HOOKS["with_numbers"](PAGES[page]) == PAGES[page], "the numbers are old; run `make docs`"
    # a comment that begins a line ends the paragraph
    assert not re.search(r"^<!-- = ", PAGES[page], re.MULTILINE)
    assert PAGES[page].count("<!-- = ") == 2 * len(HOOKS["NUMBER"].findall(PAGES[page]))


def test_a_number_that_no_file_has_stops_the_build() -> None:
    with pytest.raises(ValueError, match="0 cells in row 'no such row'"):
        HOOKS["with_numbers"]("<!-- = voice_conversion :: no such row :: tiny -->1<!-- = -->")


RATIO = ("speaker_verification", "tiny, ratio of the calibration that ships")
# first words of a row in the README -> the cell of a results page that it repeats
IN_README = {
    "word error rate of conversions": ("voice_conversion", "word error rate, Whisper base, %", "tiny"),
    "conversions closer to the target": ("voice_conversion", "closer to target than to source, GE2E, %", "tiny"),
    "DNSMOS overall": ("ssl_tts", "DNSMOS overall, 1 to 5", "tiny"),
    "equal error rate, LibriSpeech dev": (*RATIO, "EER, LibriSpeech dev, %"),
    "equal error rate, AN4 test": (*RATIO, "EER, AN4 test, %"),
    "ABX error across speakers": ("units", "ABX error across speakers, centroids", "km500-*, as %"),
}


@pytest.mark.parametrize("start", IN_README)
def test_the_readme_repeats_the_results(start: str) -> None:
    row = re.search(rf"^\|[^|]+\| {start}[^|]*\| ([^|]+) \|", READ_FIRST["README.md"], re.MULTILINE)
    assert row
    assert row[1].removesuffix(" %") == HOOKS["cell"](*IN_README[start])


def test_the_readme_states_the_size_of_what_ships() -> None:
    size = HOOKS["cell"]("speechssl/models", "megabytes")
    assert f"in the package ({size} MB)" in READ_FIRST["README.md"].replace("\n", " ")
    with pytest.raises(ValueError, match="no files"):
        HOOKS["cell"]("speechssl/nothing", "megabytes")


def test_links_out_of_the_site_lead_to_its_pages_or_to_the_repository() -> None:
    page = ROOT / "docs/reference/models.md"
    mended = HOOKS["relinked"]("[a](../../recipes/units/RESULTS.md#x) [b](../../pyproject.toml) [c](../index.md)", page,
                               "reference/models.md")  # fmt: skip
    assert mended == (
        "[a](../results/units.md#x) [b](https://github.com/speechssl/speechssl/blob/main/pyproject.toml) "
        "[c](../index.md)"
    )
    page = ROOT / "recipes/ssl_tts/RESULTS.md"
    mended = HOOKS["relinked"]("![a](results/sample.png)", page, "results/ssl_tts.md")
    assert mended == "![a](../results/pictures/ssl_tts-sample.png)"


def test_the_site_asks_the_net_for_nothing() -> None:
    found = settings()
    assert found["strict"] is True
    assert found["theme"]["font"] is False
    assert not [script for script in found["extra"]["polyfills"] if "://" in script]
    for page, text in PAGES.items():
        assert not re.search(r"!\[[^]]*\]\(https?:|src=\"https?:", text), page


# ---- complete


def test_every_command_has_a_page_with_all_its_options() -> None:
    for names, one in COMMANDS["commands"]():
        page = COMMAND_PAGES[f"reference/commands/{'-'.join(names)}.md"]
        for option in one.params:
            assert option.param_type_name == "argument" or f"`{option.opts[0]}" in page, (names, option.name)
            assert " ".join(option.help.split()).replace("|", "\\|") in page


def test_every_variable_and_exit_code_has_its_line() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "speechssl").rglob("*.py"))
    page = PAGES["reference/environment.md"]
    read = set(re.findall(r'["$](SPEECHSSL_[A-Z_]+)\b', source)) - {"SPEECHSSL_RECEIPT"}  # the name of a tag
    assert {name for name in read if f"`{name}`" not in page} == set()
    codes = set(re.findall(r"\b(\d+)\b", str(cli.run.__doc__)))
    assert codes <= set(re.findall(r"^\| (\d+) \|", PAGES["reference/exit-codes.md"], flags=re.MULTILINE))


def test_every_public_name_is_in_the_reference_and_in_an_example() -> None:
    text = "".join(text for page, text in PAGES.items() if page.startswith("reference/python/"))
    names = set(speechssl.__all__) - {"__version__"}
    assert {name for name in names if f"::: speechssl.{name}\n" not in text} == set()
    assert {name for name in names if not re.search(rf"^(?!:::).*\bspeechssl\.{name}\b", text, re.MULTILINE)} == set()


def test_every_term_of_the_glossary_is_explained_once() -> None:
    terms = re.findall(r"^\*\*(.+?)\*\*", PAGES["glossary.md"], flags=re.MULTILINE)
    assert len(terms) == len(set(terms)) >= 35
    assert terms == sorted(terms, key=str.lower)


# ---- found


QUESTIONS = {
    "how good is it": "word error rate",
    "which layer": "block 4",
    "where is my data": "speechssl data list",
    "can I use it on the telephone": "No decision",
    "how much speech does a reference need": "30 seconds",
    "may I use the voice of somebody": "consent",
    "how fast without a GPU": "real time",
    "commercial use licence": "MIT",
    "delete a voice": "voice remove",
    "other languages": "English",
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_newcomer_finds_the_answer_in_the_first_section_of_the_search(question: str) -> None:
    """By the words of headings first, as the search of the site ranks them, then by those of the text."""
    sections = [
        (heading, body)
        for text in PAGES.values()
        for heading, body in re.findall(r"^#+ (.+)\n((?:(?!#+ ).*\n?)*)", prose(text), flags=re.MULTILINE)
    ]
    words = re.findall(r"\w+", question.lower())

    def rank(section: tuple[str, str]) -> float:
        heading, body = (re.findall(r"\w+", part.lower()) for part in section)
        found = [100 * (word in heading) + (word in body) for word in words]
        return sum(found) - len(heading)  # a heading that says little else

    best = max(sections, key=rank)
    assert QUESTIONS[question].lower() in HOOKS["with_numbers"](best[1]).lower(), best
