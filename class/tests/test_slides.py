"""The decks: what the rule chooses, and each slide of each lesson as it is projected."""

import chromium
import nbformat
import pytest
import slides
from measure import open_deck, walk
from playwright import sync_api

PATHS = sorted((slides.ROOT / "notebooks").glob("*.ipynb"))
PICTURE = {
    "image/png": "iVBORw0KGgoAAAANSUhEUgAAAAQAAAACCAIAAADwyuo0AAAAEUlEQVR4nGNgYGD4DwUMKAAAV80H+YhaNS0AAAAASUVORK5CYII="
}


@pytest.fixture(scope="module", params=PATHS, ids=lambda path: path.stem)
def measured(request, tmp_path_factory):
    """What the browser finds on each slide of a deck, and what the deck asked for."""
    path = tmp_path_factory.mktemp("decks") / f"{request.param.stem}.html"
    path.write_text(slides.to_html(nbformat.read(request.param, as_version=4)), encoding="utf-8")
    asked, errors = [], []
    with sync_api.sync_playwright() as playwright:
        page = chromium.launch(playwright).new_page(viewport={"width": 1280, "height": 720})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        found = list(walk(page, path))
    own = ("data:", "blob:", path.as_uri())
    return found, [url[:100] for url in asked if not url.startswith(own)], errors


def test_a_deck_asks_nothing_of_anyone_and_makes_no_error(measured):
    _, asked, errors = measured
    assert not asked
    assert not errors


def test_nothing_overflows(measured):
    found, _, _ = measured
    assert not [(number, slide["title"], slide["outside"]) for number, slide in enumerate(found, 1) if slide["outside"]]
    assert not [(number, slide["title"]) for number, slide in enumerate(found, 1) if slide["overflow"]]


def test_code_has_18_points_or_more_and_text_15(measured):
    found, _, _ = measured
    assert min([size for slide in found for size in slide["code"]], default=24) >= 24  # pixels: 18 points
    assert min(size for slide in found for size in slide["text"]) >= 20


def test_formulas_are_typeset_and_pictures_large_and_described(measured):
    found, _, _ = measured
    for slide in found:
        assert not slide["errors"], slide
        assert not slide["raw"], slide
        for picture in slide["pictures"]:
            assert picture["alt"], slide
            assert picture["height"] >= 150, slide


def test_a_deck_has_15_to_30_slides(measured):
    found, _, _ = measured
    assert 15 <= len(found) <= 30


def lesson(*cells):
    """A notebook of a title and these cells; each is Markdown, or (source, data of its output[, slide_type])."""
    made = [nbformat.v4.new_markdown_cell("# 99 · A lesson\n\nWhat it is.\n\n**You will learn** to\n\n1. see.")]
    for cell in cells:
        if isinstance(cell, str):
            made.append(nbformat.v4.new_markdown_cell(cell))
            continue
        source, shown, kind = (*cell, None)[:3]
        outputs = [nbformat.v4.new_output("display_data", shown)] if shown else []
        made.append(nbformat.v4.new_code_cell(source, outputs=outputs))
        if kind:
            made[-1].metadata["slideshow"] = {"slide_type": kind}
    return slides.Deck(nbformat.v4.new_notebook(cells=made)).slides[1:]


def test_headings_name_slides_and_sections_that_are_optional_or_load_have_none():
    found = lesson(
        "## 1 · Loss (5 minutes, core)\n\n$$a$$\n\n### More (optional, 2 minutes)\n\n$$b$$", "## 2 · Load\n\n$$c$$"
    )
    assert [(slide.title, slide.pieces) for slide in found] == [("1 · Loss", ["$$a$$"])]


def test_an_equation_brings_the_sentence_before_it_and_the_one_that_reads_it():
    (slide,) = lesson(
        "## 1 · Loss\n\nFirst. The value of the whole game is\n\n$$V$$\n\nSymbol by symbol: $V$ is the value.\n\nOn."
    )
    assert slide.pieces == ["The value of the whole game is", "$$V$$", "Symbol by symbol: $V$ is the value."]


def test_what_is_bold_and_leads_to_an_equation_is_said_once():
    (slide,) = lesson("## 1 · Loss\n\nCall it **a loss**. For every plan,\n\n$$V$$")
    assert slide.pieces == ["Call it **a loss**. For every plan,", "$$V$$"]


def test_bold_words_that_name_what_follows_bring_it():
    assert slides.bold_sentence("First. **Batch norm.** It costs a lot. More.") == "**Batch norm.** It costs a lot."
    assert slides.first_bold("- **Range.** From β to α. More.") == "**Range.** From β to α."


def test_the_questions_for_a_discussion_are_shown_and_the_quiz_is_not():
    (slide,) = lesson("## Quiz (5 minutes)\n\n**1.** Why?", "## Discussion (10 minutes)\n\n1. Who?\n2. When?")
    assert (slide.title, slide.pieces) == ("Discussion", ["1. Who?\n2. When?"])


def test_a_picture_brings_what_there_is_to_see_and_opens_a_slide():
    (first, second) = lesson(
        "## 1 · Maps", ("draw()", PICTURE), "Left: a map. It is new. **It folds.**", ("draw()", PICTURE), "A film."
    )
    assert first.pieces[1:] == ["Left: a map. **It folds.**"]
    assert second.pieces[1:] == ["A film."]
    assert first.pictured


def test_long_tables_and_code_are_not_shown():
    rows = "| a |\n|---|\n" + "\n".join(f"| {row} |" for row in range(11))
    assert not lesson("## 1 · Rows", ("show()", {"text/markdown": rows}))
    assert len(lesson("## 1 · Rows", ("show()", {"text/markdown": rows.rpartition("\n")[0]}))) == 1


def test_metadata_overrule():
    assert not lesson("## 1 · Maps", ("draw()", PICTURE, "skip"))
    (slide,) = lesson("## 1 · Maps (optional)", ("x=1", None, "slide"))
    assert slide.pieces == ["```python\nx = 1\n```"]
    (slide,) = lesson("## 1 · Maps", "**One.**", ("draw()", PICTURE, "fragment"))
    assert 'class="fragment' in slide.pieces[1]


def test_sentences_end_where_a_reader_would_end_them():
    text = "M. Lucic et al. say $a. B$ is 0.5. **So it is. Or not.** See [a. B](x) here."
    assert slides.sentences(text) == [
        "M. Lucic et al. say $a. B$ is 0.5.",
        "**So it is. Or not.**",
        "See [a. B](x) here.",
    ]


def test_the_speaker_has_the_prose():
    (slide,) = lesson("## 1 · Loss\n\nA long story.\n\n$$V$$")
    assert "A long story." in slide.notes[0]


def test_a_table_that_is_too_wide_is_found(tmp_path):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# T\n\n**You will learn** to\n\n1. see.")])
    made.cells.append(
        nbformat.v4.new_markdown_cell("## 1 · Wide\n\n" + "W" * 140, metadata={"slideshow": {"slide_type": "slide"}})
    )
    (tmp_path / "deck.html").write_text(slides.to_html(made), encoding="utf-8")
    with sync_api.sync_playwright() as playwright:
        page = chromium.launch(playwright).new_page(viewport={"width": 1280, "height": 720})
        assert open_deck(page, tmp_path / "deck.html") == 2
        assert list(walk(page, tmp_path / "deck.html"))[1]["overflow"]
