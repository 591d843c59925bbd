"""The pages of the site, in a real browser: `make test-site`."""

import json
import pathlib
import re

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import Page

ROOT = pathlib.Path(__file__).parent.parent.parent
SITE = ROOT / "build" / "site"
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIRST = f"notebooks/{LESSONS[0].stem}.html"
# All that is built, but what only redirects, and pieces that other pages load.
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if not {"_static", "vendor"} & set(path.relative_to(SITE).parts)
) or ["index.html"]

# Texts whose contrast with the colour behind them is below that of WCAG AA: 4.5, or 3 for large ones.
CONTRAST = """() => {
  const numbers = colour => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const light = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const style = getComputedStyle(element);
    const pair = [luminance(numbers(style.color)), luminance(behind(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    const large = parseFloat(style.fontSize) >= (style.fontWeight >= 700 ? 18.67 : 24);
    if (ratio >= (large ? 3 : 4.5)) continue;
    poor.add(`${ratio.toFixed(2)} ${style.color} ${element.className} "${node.data.trim().slice(0, 30)}"`);
  }
  return [...poor];
}"""


def opened(page: Page, address: str) -> None:
    """Opens a page and waits until its formulas are typeset."""
    page.goto(address, timeout=120_000)
    page.evaluate("() => window.MathJax?.startup?.promise?.then(() => true)")


def parsed(path: pathlib.Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_a_fault_also_on_a_phone(page, server, name):
    opened(page, f"{server}/{name}")
    assert page.title()
    assert page.locator(".math").count() == page.locator(".math mjx-container").count()
    assert page.locator("mjx-merror").count() == 0
    text = page.evaluate(
        "() => [...document.querySelectorAll('p, li, td, dd, summary')].map(e => e.innerText).join(' ')"
    )
    assert "$$" not in text
    images = page.evaluate("() => [...document.images].map(image => [image.currentSrc.slice(0, 80), image.alt])")
    assert all(len(alt) > 3 for _, alt in images), images
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "methods.html", "reference/losses.html", FIRST])
def test_letters_have_enough_contrast(page, server, name, scheme):
    page.emulate_media(color_scheme=scheme)
    opened(page, f"{server}/{name}")
    page.evaluate("() => Promise.allSettled(document.getAnimations().map(fading => fading.finished))")
    assert page.evaluate(CONTRAST) == []


def test_every_lesson_has_a_page_with_its_words_for_pictures(site):
    for path in LESSONS:
        html = parsed(site / "notebooks" / f"{path.stem}.html")
        found = {image.get("alt", "") for image in html.find_all("img")}
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            pictures = [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
            if pictures:
                assert " ".join(cell["metadata"]["alt"].split()) in {" ".join(alt.split()) for alt in found}


def test_links_lead_somewhere(site):
    pages = {path: parsed(path) for path in site.rglob("*.html") if "_static" not in path.parts}
    anchors = {path: {tag["id"] for tag in html.find_all(id=True)} for path, html in pages.items()}
    lost = []
    for path, html in pages.items():
        for tag in html.find_all(["a", "img", "link", "script"]):
            target = tag.get("href") or tag.get("src") or ""
            if re.match(r"(?:[a-z]+:|#$|$)", target):
                continue
            file, _, anchor = target.split("?")[0].partition("#")
            found = (path.parent / file).resolve() if file else path
            found = found / "index.html" if found.is_dir() else found
            if not found.exists() or (anchor and found in anchors and anchor not in anchors[found]):
                lost.append(f"{path.relative_to(site)}: {target}")
    assert not lost, "\n".join(sorted(set(lost)))


def test_no_page_asks_another_host(site):
    for path in site.rglob("*.html"):
        for tag in parsed(path).find_all(["script", "img", "link", "iframe", "source"]):
            target = tag.get("src") or tag.get("href") or ""
            assert not target.startswith(("http", "//")), f"{path.relative_to(site)}: {target}"


def test_pages_know_the_lessons_that_are_there(site):
    home = (site / "index.html").read_text("utf-8")
    for path in LESSONS:
        assert f"notebooks/{path.stem}.html" in home
    assert len(list((site / "notebooks").glob("*.html"))) == len(LESSONS)


def test_every_method_has_its_line_its_paper_and_its_row(site):
    html = parsed(site / "methods.html")
    entries = [section for section in html.select("section section") if not section.find("section")]
    for entry in entries[1:-1]:  # without the whole table, and the parts of networks
        title = entry.find(["h2", "h3"]).get_text()
        assert "gan.compile(" in entry.get_text(), title
        assert entry.select('a[href^="https://arxiv.org/abs/"]'), title
        assert entry.select("div.math"), f"{title}: site/tex.py lacks the equation of its docstring"
        assert not entry.select("div.highlight-text"), title
    rows = html.select("section#at-equal-cost tbody tr")
    runs = json.loads((ROOT / "data" / "results" / "equal_cost.json").read_text("utf-8"))["runs"]
    # The study may have gone on since the site was built.
    assert {row.td.get_text() for row in rows} <= {run["method"] for run in runs}
    assert rows


def test_the_bibliography_has_every_paper_and_lessons_lead_there(site):
    keys = set(re.findall(r"@misc\{(\w+),", (ROOT / "docs" / "references.bib").read_text("utf-8")))
    assert {tag["id"] for tag in parsed(site / "bibliography.html").select("div.citation")} == keys
    for path in LESSONS:
        html = parsed(site / "notebooks" / f"{path.stem}.html")
        assert html.select('article a[href^="../bibliography.html#"]'), path.name


def test_the_first_use_of_a_term_leads_to_the_glossary(site):
    html = parsed(site / FIRST)
    found = [link["href"] for link in html.select("a.term")]
    assert len(found) == len(set(found)) > 20
    assert all(href.startswith("../glossary.html#term-") for href in found)
    assert not html.select("h1 a.term, h2 a.term, pre a.term, thead a.term")


def test_solutions_are_folded(page, server):
    opened(page, f"{server}/{FIRST}")
    solutions = page.locator("details", has_text="Show the solution")
    tagged = [
        cell
        for cell in json.loads(LESSONS[0].read_text("utf-8"))["cells"]
        if "solution" in cell["metadata"].get("tags", [])
    ]
    assert solutions.count() == len(tagged) > 0
    assert page.locator("details[open]").count() == 0
    code = solutions.first.locator("pre").first
    assert not code.is_visible()
    solutions.first.locator("summary").click()
    assert code.is_visible()


def test_a_keyboard_reaches_search_and_menu(page, server):
    opened(page, f"{server}/index.html")
    page.keyboard.press("Tab")
    assert "Skip to main content" in page.evaluate("() => document.activeElement.innerText")
    page.keyboard.press("Control+k")
    page.keyboard.type("mode collapse")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html*")
    page.locator("#search-results li").first.wait_for()
    assert page.locator("#search-results li", has_text="vanilla GAN").count() > 0


def test_a_keyboard_reaches_the_menu_on_a_phone(page, server):
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, f"{server}/index.html")
    lesson = page.locator(".bd-sidebar-primary, dialog").get_by_role("link", name="01 · The vanilla GAN").first
    assert not lesson.is_visible()
    for _ in range(10):
        page.keyboard.press("Tab")
        if "primary-toggle" in page.evaluate("() => document.activeElement.className"):
            break
    page.keyboard.press("Enter")
    lesson.wait_for(state="visible")


def test_dark_and_light_can_be_chosen(page, server):
    opened(page, f"{server}/index.html")
    for mode in ("dark", "light"):
        page.get_by_role("button", name="Color mode").click()
        page.get_by_role("button", name=mode.title(), exact=True).click()
        assert page.evaluate("() => document.documentElement.dataset.theme") == mode


def test_code_can_be_copied(page, server):
    opened(page, f"{server}/{FIRST}")
    assert page.locator("div.cell_input button.copybtn").count() > 20
    assert page.locator("div.cell_output button.copybtn").count() == 0


def test_print_shows_the_lesson_alone(page, server):
    page.emulate_media(media="print")
    opened(page, f"{server}/{FIRST}")
    for part in (".bd-sidebar-primary", ".bd-header-article", ".prev-next-area"):
        assert not page.locator(part).first.is_visible()
    assert page.locator("h1").first.is_visible()


def test_launch_buttons_need_an_address(site):
    stamped = "Repository" in (ROOT / "pyproject.toml").read_text("utf-8")
    assert ("colab.research.google.com" in (site / FIRST).read_text("utf-8")) == stamped
