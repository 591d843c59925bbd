"""The first page and the pages it leads to: short, complete, and every link leads somewhere."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readme_is_read_in_five_minutes():
    text = re.sub(r"<img [^>]*>", "", README)
    assert len(text.split()) <= 750
    assert sum(picture.stat().st_size for picture in (ROOT / "docs").rglob("*.gif")) < 1_000_000


def test_every_lesson_has_a_row_with_a_picture():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        (row,) = (line for line in README.splitlines() if f"(notebooks/{path.name})" in line)
        assert f'src="docs/pictures/{path.stem[:2]}.png"' in row


def test_every_picture_has_words_for_those_who_do_not_see_it():
    pictures = re.findall(r"<img [^>]*>", README)
    assert pictures
    assert all(len(re.search(r'alt="([^"]*)"', picture)[1]) > 10 for picture in pictures)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    for target in [*re.findall(r"\]\(([^)#]+)\)", text), *re.findall(r'src="([^"]+)"', text)]:
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_page_is_found_from_the_readme():
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in README
