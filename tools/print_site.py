"""Prints the built site as one PDF, with a table of contents, bookmarks and page numbers: what `make pdf` does.

    python tools/print_site.py build/site build/course.pdf

Chromium prints each page that the site's menu lists, in that order, with all that is folded opened; pages that only
live in a browser are left out. Links from page to page lead to the place in the file, or else to the public site.
"""

import argparse
import base64
import functools
import html
import http.server
import io
import pathlib
import threading
from typing import Any

import chromium
import imageio.v3 as imageio
import pypdf
import stamp
from bs4 import BeautifulSoup
from playwright import sync_api
from pypdf.generic import ArrayObject, FloatObject, NameObject, NullObject

LEFT_OUT = ("play.html",)
PAPER = {"format": "A4", "margin": {"top": "18mm", "bottom": "20mm", "left": "18mm", "right": "18mm"}}
SCALE = 0.7  # of the site's pages: 16 pixels become 8.4 points
NUMBER = '<div style="font: 8pt sans-serif; width: 100%; text-align: center" class="pageNumber"></div>'
CONTENTS = """<!doctype html><html lang="en"><title>Contents</title><style>
body {{ font: 11pt/1.6 sans-serif; }} a {{ color: inherit; text-decoration: none; }}
h2 {{ font-size: 12pt; margin: 1em 0 0.2em; }}
p {{ display: flex; margin: 0; }} i {{ flex: 1; border-bottom: 1px dotted gray; margin: 0 0.5em 0.4em; }}
</style><h1>Contents</h1>{lines}</html>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that says nothing."""

    def log_message(self, *_: object) -> None: ...


def listed(site: pathlib.Path) -> dict[str, list[tuple[str, str]]]:
    """The menu of the site: for each caption the pages below it, each with its path and its title."""
    menu = BeautifulSoup((site / "index.html").read_text("utf-8"), "html.parser").select_one("nav.bd-links")
    found = {}
    for caption in menu.select("p.caption"):
        links = caption.find_next("ul").select("a.reference.internal")
        pages = [("index.html" if link["href"] == "#" else link["href"], link.get_text(strip=True)) for link in links]
        found[caption.get_text(strip=True)] = [page for page in pages if page[0] not in LEFT_OUT]
    return found


def still(film: str) -> str:
    """The last frame of a film, as an address: paper would show the first."""
    frame = io.BytesIO()
    imageio.imwrite(frame, imageio.imread(film, index=None)[-1], extension=".png")
    return f"data:image/png;base64,{base64.b64encode(frame.getvalue()).decode()}"


def print_page(page: sync_api.Page, address: str) -> pypdf.PdfReader:
    """A page of the site on paper: light, typeset, and with everything unfolded."""
    page.goto(address, timeout=300_000)
    page.evaluate("() => window.MathJax?.startup?.promise?.then(() => true)")
    page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true; })")
    for film in page.locator("img[src$='.gif']").all():
        film.evaluate("(film, still) => { film.src = still; }", still(film.evaluate("film => film.src")))
    page.evaluate("() => Promise.all([...document.images].map(one => { one.loading = 'eager'; return one.decode(); }))")
    return pypdf.PdfReader(io.BytesIO(page.pdf(**PAPER, scale=SCALE, outline=True, tagged=True)))


def contents(page: sync_api.Page, server: str, menu: dict[str, Any], begins: dict[str, int]) -> pypdf.PdfReader:
    """The table of contents, with the page on which each part begins."""
    lines = []
    for caption, pages in menu.items():
        lines.append(f"<h2>{html.escape(caption)}</h2>")
        for path, title in pages:
            link = f'<a href="{server}/{path}">{html.escape(title)}</a>'
            lines.append(f"<p>{link}<i></i>{begins.get(path, 0) + 1}</p>")
    page.set_content(CONTENTS.format(lines="".join(lines)))
    return pypdf.PdfReader(io.BytesIO(page.pdf(**PAPER, outline=True)))


def join(parts: dict[str, pypdf.PdfReader], server: str, public: str | None) -> pypdf.PdfWriter:
    """All parts one after the other, with the bookmarks of each, and with links that lead somewhere in this file."""
    writer, begins = pypdf.PdfWriter(), {}
    for path, part in parts.items():
        begins[path] = len(writer.pages)
        writer.append(part)
        places = part.named_destinations
        for leaf in writer.pages[begins[path] :]:
            for annotation in [one.get_object() for one in leaf.get("/Annots", [])]:
                name = annotation.get("/Dest") or annotation.get("/A", {}).get("/D")
                if isinstance(name, str) and (place := places.get(name)):
                    number = part.get_destination_page_number(place)
                    lead(annotation, writer.pages[begins[path] + number], place.get("/Top"))
    for leaf in writer.pages:
        for annotation in [one.get_object() for one in leaf.get("/Annots", [])]:
            target = str(annotation.get("/A", {}).get("/URI", ""))
            if not target.startswith(server):
                continue
            path = target.removeprefix(server).lstrip("/")
            if (file := path.partition("#")[0] or "index.html") in begins:
                lead(annotation, writer.pages[begins[file]], None)
            elif public:
                annotation["/A"][NameObject("/URI")] = pypdf.generic.TextStringObject(public + path)
            else:
                del annotation["/A"]
    writer.root_object.pop("/Names", None)
    writer.root_object.pop("/Dests", None)
    return writer


def lead(annotation: Any, leaf: pypdf.PageObject, top: float | None) -> None:
    """Makes a link lead to a page of the file, and to this height on it."""
    annotation.pop("/A", None)
    height = NullObject() if top is None else FloatObject(top)
    place = [leaf.indirect_reference, NameObject("/XYZ"), NullObject(), height, NullObject()]
    annotation[NameObject("/Dest")] = ArrayObject(place)


def number(page: sync_api.Page, writer: pypdf.PdfWriter) -> None:
    """Sets its number at the foot of each page, but the first."""
    empty = '<div style="break-after: page">&nbsp;</div>' * (len(writer.pages) - 1)
    page.set_content(f"<!doctype html>{empty}&nbsp;")
    shown = {"display_header_footer": True, "header_template": "<i></i>", "footer_template": NUMBER}
    numbers = pypdf.PdfReader(io.BytesIO(page.pdf(**PAPER, **shown)))
    for leaf, foot in list(zip(writer.pages, numbers.pages, strict=True))[1:]:
        leaf.merge_page(foot)
        leaf.compress_content_streams()


def main() -> None:
    """Reads the command line, prints, and says how long the file is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    options = parser.parse_args()
    menu = listed(options.site)
    address, _ = stamp.read_project()
    handler = functools.partial(Quiet, directory=str(options.site))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running,
        sync_api.sync_playwright() as playwright,
    ):
        threading.Thread(target=running.serve_forever, daemon=True).start()
        server = f"http://127.0.0.1:{running.server_port}"
        page = chromium.launch(playwright).new_page(color_scheme="light")
        paths = [path for pages in menu.values() for path, _ in pages]
        parts = {"index.html": None, "": contents(page, server, menu, {})} | dict.fromkeys(paths)
        for path in paths:
            print(path, flush=True)
            parts[path] = print_page(page, f"{server}/{path}")
        begins, total = {}, 0
        for path, part in parts.items():
            begins[path], total = total, total + len(part.pages)
        parts[""] = contents(page, server, menu, begins)
        writer = join(parts, server, address and stamp.site_address(address))
        number(page, writer)
        running.shutdown()
    writer.add_metadata({"/Title": "Generative adversarial networks: a course in notebooks"})
    writer.page_mode = "/UseOutlines"
    writer.compress_identical_objects()
    writer.write(options.output)
    size = options.output.stat().st_size / 1e6
    print(f"{options.output}: {len(writer.pages)} pages, {size:.1f} MB")


if __name__ == "__main__":
    main()
