"""What a browser measures on a deck, slide by slide."""

import pathlib
from collections.abc import Iterator

from playwright import sync_api

MEASURE = """() => {
  const page = Reveal.getCurrentSlide().querySelector(".page"), place = page.getBoundingClientRect();
  const outside = [], visible = [...page.querySelectorAll("*")].filter(node => node.getClientRects().length);
  for (const node of visible) {
    if (node.closest("mjx-assistive-mml")) continue;
    const box = node.getBoundingClientRect();
    if (box.left < -1 || box.right > 1281 || box.top < -1 || box.bottom > 692)
      outside.push(node.outerHTML.slice(0, 120));
  }
  const sizes = selector => visible.filter(node => node.matches(selector)).map(
    node => parseFloat(getComputedStyle(node).fontSize) * place.width / page.offsetWidth);
  return {
    title: page.innerText.slice(0, 60), outside, overflow: page.scrollHeight > 720 || page.scrollWidth > 1280,
    code: sizes("pre"), text: sizes("p, li, td"), errors: page.querySelectorAll("mjx-merror").length,
    raw: /\\$\\$|\\*\\*/.test(page.innerText), pictures: visible.filter(node => node.tagName == "IMG").map(
      node => ({height: node.getBoundingClientRect().height, alt: node.alt})),
  }
}"""


def open_deck(page: sync_api.Page, path: pathlib.Path) -> int:
    """Shows the deck and returns how many slides it has."""
    page.goto(path.as_uri())
    page.wait_for_function("document.body.classList.contains('shown')", timeout=60_000)
    return page.evaluate("Reveal.getTotalSlides()")


def walk(page: sync_api.Page, path: pathlib.Path) -> Iterator[dict]:
    """Goes from slide to slide, with everything shown that comes one by one, and measures each."""
    for index in range(open_deck(page, path)):
        page.evaluate(f"Reveal.slide({index}, 0, 999)")
        page.wait_for_timeout(60)
        yield page.evaluate(MEASURE)
