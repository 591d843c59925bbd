"""The quizzes as a reader meets them: an answer is folded until it is chosen, and then says whether it is right."""

import chromium
import nbformat
import slides
from nbconvert import HTMLExporter
from playwright import sync_api

PATHS = sorted((slides.ROOT / "notebooks").glob("*.ipynb"))


def test_an_answer_opens_when_it_is_chosen_and_marks_itself():
    lessons = [nbformat.read(path, as_version=4) for path in PATHS]
    cells = [cell for lesson in lessons for cell in lesson.cells if cell.source.startswith("## Quiz")]
    for number, cell in enumerate(cells):
        cell.id = f"quiz-{number}"
    html, _ = HTMLExporter(template_name="basic").from_notebook_node(nbformat.v4.new_notebook(cells=cells))
    with sync_api.sync_playwright() as playwright:
        page = chromium.launch(playwright).new_page()
        page.set_content(f"<!DOCTYPE html><body>{html}</body>")
        answers = page.locator("details").all()
        verdicts = page.locator("details > b")
        assert len(answers) >= 15 * len(PATHS)
        assert not any(verdict.is_visible() for verdict in verdicts.all())
        for answer in answers:
            answer.locator("summary").click()
            assert answer.locator("b").is_visible()
        assert verdicts.all_inner_texts().count("Right.") == 5 * len(PATHS)
