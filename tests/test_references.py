"""The bibliography has every paper that the course names by its number on arXiv, once, and no other."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
ENTRY = re.compile(r"(?ms)^@misc\{(\w+),\n(.*?)^\}$")
NUMBER = re.compile(r"(?:arXiv:|arxiv\.org/(?:abs|pdf)/)(\d{4}\.\d{4,5})", re.IGNORECASE)
ENTRIES = ENTRY.findall((ROOT / "docs" / "references.bib").read_text("utf-8"))
NUMBERS = [re.search(r"eprint = \{(.*?)\}", fields)[1] for _, fields in ENTRIES]
SOURCES = [
    path
    for pattern in ("notebooks/*.ipynb", "gan_utils/*.py", "studies/*.py", "*.md", "docs/*.md", "site/*.md")
    for path in sorted(ROOT.glob(pattern))
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_paper_that_is_named_is_there(path):
    missing = set(NUMBER.findall(path.read_text("utf-8"))) - set(NUMBERS)
    assert not missing, f"Add {missing} to docs/references.bib."


def test_every_entry_is_named_somewhere_and_stands_once_in_order():
    named = {number for path in SOURCES for number in NUMBER.findall(path.read_text("utf-8"))}
    assert set(NUMBERS) <= named
    assert sorted(set(NUMBERS)) == NUMBERS
    assert len({key for key, _ in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize(("key", "fields"), ENTRIES, ids=[key for key, _ in ENTRIES])
def test_an_entry_has_who_what_and_when(key, fields):
    found = dict(re.findall(r"(?m)^  (\w+) = \{+(.*?)\}+,$", fields))
    assert list(found) == ["author", "title", "year", "eprint", "archiveprefix"]
    assert re.fullmatch(r"20\d\d", found["year"])
    assert found["year"] in key
