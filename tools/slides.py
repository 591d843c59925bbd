"""Makes a deck of slides of each notebook as it is, from its stored outputs. Nothing is executed.

    python tools/slides.py notebooks/*.ipynb --output build/slides

A deck is one HTML file that needs no network: Reveal.js, MathJax and all pictures stand in it. Press → to go on, S for
the speaker's view, where the prose of the lesson stands as notes, and ? for other keys.

**What is shown.** Slides are chosen from the cells by a rule:

- The title, what comes before "You will learn", and that list, are the first slide.
- A heading names the slides that follow. Sections that are optional, load tools, quizzes and exercises have none.
- A picture, a film, a table of at most 10 rows, a display equation and a quotation (a question, an algorithm) are
  shown. A picture or a film has a slide of its own; tables, equations and strips of images share one while there is
  room.
- An equation brings the sentence before it, and the one that reads its symbols.
- Of the cell after a picture come the sentences that say what to see: those with something bold, and those that begin
  with "Left", "Right", "Above", "Below"; else the first. Of other cells comes the first sentence with something bold,
  and of a list the items with something bold.
- "What still fails", the recap and the questions for a discussion are shown as they are. Code is not.

**What overrules it** is a cell's metadata `slideshow.slide_type`: `slide` or `subslide` shows the whole cell on a new
slide, `-` on the slide that is open, `fragment` there and on the next key; of a code cell that is the source, formatted
for 78 columns, and its pictures and tables. `notes` shows the cell to the speaker only, `skip` to nobody.
"""

import argparse
import base64
import dataclasses
import html
import math
import pathlib
import re
import struct
import subprocess
import sys

import nbformat
from nbconvert import SlidesExporter
from pygments.formatters import HtmlFormatter

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODULES = ROOT / "build" / "class" / "node_modules"
SCRIPTS = ("reveal.js/dist/reveal.js", "reveal.js/plugin/notes/notes.js", "mathjax/es5/tex-svg.js")
ROWS, COLUMNS, ROW_LENGTH = 10, 78, 150  # of a table, of code, of a table again: more cannot be read from the last row
LINES, LINES_BESIDE = 13, 5.5  # of text on a slide, without a picture and with one

_FIRST_WORDS = re.compile(r"\W*(?:Left|Right|Above|Below|In the middle|Top|Bottom)\b")
_SYMBOLS = re.compile(r"(?:where|which|with|Here|Symbol by symbol|Read it symbol|Three words)\b")
_BOLD = re.compile(r"\*\*[^*]+\*\*")
_LINKS = re.compile(r"(?:!?\[[^\]]*\]\([^)]*\)|[\W_])+|.*colab-badge.*", re.DOTALL)  # a paragraph of nothing else
_HIDDEN = re.compile(r"\bload\b|exercises|quiz", re.IGNORECASE)


@dataclasses.dataclass
class Slide:
    """What stands on one slide, as pieces of Markdown, and what only the speaker sees."""

    section: str
    title: str
    pieces: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    lines: float = 0  # how many of text would take the same place
    pictured: bool = False  # a picture takes what the text leaves
    stays: bool = False  # a sentence alone makes no slide

    def has_room(self, lines: float) -> bool:
        return self.lines + lines <= (LINES_BESIDE if self.pictured else LINES)

    def show(self, piece: str, lines: float, stays: bool = True) -> None:
        self.pieces.append(plain_links(piece))
        self.lines += lines
        self.stays |= stays

    @property
    def look(self) -> str:
        """What slides.css makes larger: a question alone, or a slide with room on it."""
        if self.pictured:
            return "pictured"
        return "question" if len(self.pieces) == 1 and self.pieces[0].startswith(">") else "open"

    def markdown(self) -> str:
        over = f'<p class="section">{html.escape(self.section)}</p>' if self.section != self.title else ""
        name = f"## {self.title}" if self.title else ""
        picture = next((piece for piece in self.pieces if 'class="picture tall"' in piece), None)
        if picture is None:
            return "\n\n".join([over, name, *self.pieces])
        rest = [piece for piece in self.pieces if piece is not picture]
        if not rest:
            return "\n\n".join([over, name, picture])
        return "\n\n".join([over, name, '<div class="beside">', picture, "<div>", *rest, "</div>", "</div>"])


class Deck:
    """Reads a notebook cell by cell and fills slides."""

    def __init__(self, notebook: nbformat.NotebookNode) -> None:
        self.slides: list[Slide] = []
        self.section = self.title = ""
        self.section_hidden = self.hidden = True
        self.after_figure = False
        self._open_with_title(notebook.cells[0])
        for cell in notebook.cells[1:]:
            self._read(cell)
        self.slides = [slide for slide in self.slides if slide.stays]

    @property
    def slide(self) -> Slide:
        return self.slides[-1]

    def _open(self) -> None:
        self.slides.append(Slide(self.section, self.title))
        self.after_figure = False

    def _open_with_title(self, cell: nbformat.NotebookNode) -> None:
        parts = blocks(cell.source)
        end = next(index for index, block in enumerate(parts) if "You will learn" in block)
        self._open()
        shown = [plain_links(part) for part in parts[: end + 2] if not _LINKS.fullmatch(part)]
        self.slide.pieces, self.slide.stays, self.slide.notes = shown, True, [cell.source]

    def _read(self, cell: nbformat.NotebookNode) -> None:
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "")
        if kind in ("slide", "subslide", "fragment", "-"):
            self._show_whole(cell, kind)
        elif cell.cell_type == "markdown":
            self._read_prose(cell.source, kind)
        elif kind not in ("notes", "skip") and not self.hidden:
            for figure in figures(cell):
                self._show_figure(figure)
                self.after_figure = True

    def _show_whole(self, cell: nbformat.NotebookNode, kind: str) -> None:
        pieces = blocks(cell.source) if cell.cell_type == "markdown" else [code(cell.source)]
        found = [] if cell.cell_type == "markdown" else figures(cell)
        for block in [piece for piece in pieces if cell.cell_type == "markdown" and piece.startswith("#")]:
            self._turn_to(block)
            pieces.remove(block)
        if kind in ("slide", "subslide"):
            self._open()
        if kind == "fragment":
            pieces, found = (
                [f'<div class="fragment">\n\n{block}\n\n</div>' for block in pieces],
                [block.replace('class="', 'class="fragment ', 1) for block in found],
            )
        self.slide.pieces += [plain_links(piece) for piece in pieces] + found
        self.slide.pictured |= any("<img" in piece for piece in found)
        self.slide.lines, self.slide.stays, self.after_figure = LINES, True, bool(found)

    def _turn_to(self, heading: str) -> None:
        marks, _, name = heading.partition(" ")
        optional = "optional" in name.lower() and not re.search(r"\bcore\b", name.replace("not core", ""))
        hidden = optional or bool(_HIDDEN.search(name))
        name = re.sub(r" \((?=[^()]*(?:minute|core|optional))[^()]*\)", "", name)
        if marks == "##":
            self.section, self.section_hidden = name, hidden
        self.title, self.hidden = name, hidden or self.section_hidden
        self._open()

    def _read_prose(self, source: str, kind: str) -> None:
        """Walks through the blocks of a cell of prose; `before` is the paragraph that leads to an equation."""
        shown = kind not in ("notes", "skip")
        caption, before, said = self.after_figure, "", False
        self.after_figure = False
        for block in blocks(source):
            if block.startswith("#") or block == "**Recap**":
                self._turn_to("### Recap" if block == "**Recap**" else block)
                caption, before, said = False, "", False
                self._note(source, kind)
                continue
            if not shown or self.hidden:
                continue
            if block.startswith("$$"):
                self._show_equation(before, block)
                before, caption = "$$", False
                continue
            if block.startswith(">"):
                if self.slide.stays:
                    self._open()
                self._show_block(block, lines=6)
            elif re.match(r"- |\d\. ", block):
                said |= self._show_list(block)
            elif not block.startswith(("|", "<")):
                if before == "$$" and _SYMBOLS.match(block):
                    self._say(trim(sentences(block), 300))
                elif caption:
                    self._say(reading(block))
                    said |= bool(_BOLD.search(block))
                    caption = False
                elif not said and _BOLD.search(block):
                    said = self._say(bold_sentence(block))
                before = block
        self._note(source, kind)

    def _note(self, source: str, kind: str) -> None:
        if kind != "skip" and not self.hidden and source not in self.slide.notes:
            self.slide.notes.append(source)

    def _show_equation(self, before: str, equation: str) -> None:
        if self.slide.pictured or not self.slide.has_room(4):
            self._open()
        if before and before != "$$":
            parts = sentences(before)
            lead = parts[-1] if len(parts[-1]) > 25 else " ".join(parts[-2:])
            if self.slide.pieces and plain_links(lead).startswith(self.slide.pieces[-1]):
                self.slide.lines -= line_count(self.slide.pieces.pop())  # it has been said, as the bold sentence
            if plain_links(lead) not in self.slide.pieces:
                self._say(lead)
        self.slide.show(equation, lines=2)

    def _show_figure(self, figure: str) -> None:
        strip = 'class="picture strip"' in figure
        pictured = "<img" in figure and not strip
        lines = 5.5 if strip else 0 if pictured else figure.count("\n|") - 0.5
        if self.slide.pictured or (pictured and self.slide.stays) or not self.slide.has_room(lines):
            self._open()
        self.slide.show(figure, lines)
        self.slide.pictured = pictured

    def _show_block(self, block: str, lines: float) -> None:
        if self.slide.pictured or not self.slide.has_room(lines):
            self._open()
        self.slide.show(block, lines)

    def _show_list(self, block: str) -> bool:
        items = re.split(r"\n(?=- |\d\. )", block)
        if not re.search(r"recap|what still fails|discussion", self.title, re.IGNORECASE):
            bold = [item for item in items if _BOLD.search(item)]
            items = [re.match(r"- |\d\. ", item)[0] + first_bold(item) for item in bold]
            if len(items) < 2:
                return bool(bold) and _BOLD.fullmatch(first_bold(bold[0])) is None and self._say(first_bold(bold[0]))
        self._show_block("\n".join(" ".join(item.split()) for item in items), sum(map(line_count, items)))
        return True

    def _say(self, text: str) -> bool:
        """Adds a sentence to the slide, if there is room. A slide for itself it never gets."""
        if not text or not self.slide.has_room(line_count(text)):
            return False
        self.slide.show(text, line_count(text), stays=False)
        return True


def line_count(text: str) -> float:
    return math.ceil(len(re.sub(r"\\[a-z]+", "x", text)) / 80) + 0.3


def blocks(source: str) -> list[str]:
    """The paragraphs, headings, equations and lists of a cell. What is folded is left out."""
    source = re.sub(r"<details>.*?</details>", "", source, flags=re.DOTALL)
    source = re.sub(r"(?m)^(#+ .*)$", r"\n\1\n", source)
    return [block.strip() for block in re.split(r"\n\s*\n", source) if block.strip()]


def sentences(text: str) -> list[str]:
    """Splits where a sentence ends: not within a formula, code or a link, nor after an initial or "al."."""
    kept: list[str] = []

    def hide(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    text = " ".join(text.split())
    text = re.sub(r"\$[^$]+\$|`[^`]+`|\[[^\]]*\]\([^)]*\)|\([^()]*\)|\b[A-Z]\. |\bal\. |\be\.g\. ", hide, text)
    found = re.split(r"(?<=[.?!])(?<!\s\d\.)(\*{0,2}) (?=[A-Z(*\0“\"])", text)
    whole = [before + end for before, end in zip(found[::2], [*found[1::2], ""], strict=True)]
    while any("\0" in sentence for sentence in whole):
        whole = [re.sub(r"\0(\d+)\0", lambda match: kept[int(match[1])], sentence) for sentence in whole]
    return balanced([sentence.strip() for sentence in whole if sentence.strip()])


def balanced(parts: list[str]) -> list[str]:
    """Joins what was split within something bold."""
    joined: list[str] = []
    for part in parts:
        if joined and joined[-1].count("**") % 2:
            joined[-1] += " " + part
        else:
            joined.append(part)
    return joined


def trim(parts: list[str], length: int) -> str:
    """As many of these sentences as have this length together, but at least one."""
    shown = parts[0]
    for part in parts[1:]:
        if len(shown) + len(part) > length:
            break
        shown += " " + part
    return shown


def reading(paragraph: str) -> str:
    """The sentences that say what to see in a picture."""
    parts = [part for part in sentences(paragraph) if not part.endswith(":")]
    told = [part for part in parts if _BOLD.search(part) or _FIRST_WORDS.match(part)]
    return trim(told or parts or [""], 310)


def bold_sentence(paragraph: str) -> str:
    """The first sentence with something bold, with the one that it refers to by "that" or "it", or that it names."""
    parts = sentences(paragraph)
    index = next(index for index, part in enumerate(parts) if _BOLD.search(part))
    refers = index and re.match(r"\W*(?:That|This|It|They|He)\b", parts[index])
    found = " ".join([*(parts[index - 1 : index] if refers else []), with_topic(parts, index)])
    return "" if found.endswith(":") else found


def with_topic(parts: list[str], index: int) -> str:
    """This sentence; if it only names in bold what the next one is about, with that one."""
    names = len(parts[index]) < 30 and _BOLD.fullmatch(parts[index])
    return " ".join(parts[index : index + 1 + bool(names)])


def first_bold(text: str) -> str:
    """The first sentence with something bold, or of a long one the bold words."""
    text = re.sub(r"^(?:- |\d\. )", "", text)
    parts = sentences(text)
    index = next(index for index, part in enumerate(parts) if _BOLD.search(part))
    sentence = with_topic(parts, index)
    longest = 170 if sentence == parts[index] else 240
    return sentence if len(sentence) <= longest else _BOLD.search(sentence)[0].strip(":")


def plain_links(text: str) -> str:
    return re.sub(r"(?<!!)\[([^\]]*)\]\([^)]*\)", r"\1", text)


def figures(cell: nbformat.NotebookNode) -> list[str]:
    """Stored pictures, films, and tables that can be read from the last row."""
    shown = []
    for output in cell.outputs:
        found = output.get("data", {})
        if "image/png" in found:
            told = html.escape(cell.metadata.get("alt", ""))
            image = f'<img alt="{told}" src="data:image/png;base64,{found["image/png"]}">'
            shown.append(f'<div class="picture {shape_of(found["image/png"])}">{image}</div>')
        elif "text/markdown" in found and _is_short_table(found["text/markdown"]):
            wide = max(map(len, found["text/markdown"].splitlines())) > 75
            shown.append(f'<div class="table{" wide" if wide else ""}">\n\n{found["text/markdown"]}\n\n</div>')
        elif found.get("text/html", "").startswith("<figure"):
            shown.append(f'<div class="film">{found["text/html"]}</div>')
    return shown


def shape_of(png: str) -> str:
    """How a picture is laid out: beside the text if it is tall, with other things below it if it is a strip."""
    width, height = struct.unpack(">II", base64.b64decode(png[:32])[16:24])
    return "tall" if width < 1.5 * height else "strip" if width > 3 * height else "full"


def _is_short_table(text: str) -> bool:
    lines = text.splitlines()
    return text.startswith("|") and len(lines) <= ROWS + 2 and max(map(len, lines)) <= ROW_LENGTH


def code(source: str) -> str:
    """The source, formatted for the width of a slide."""
    command = [sys.executable, "-m", "ruff", "format", "--quiet", f"--line-length={COLUMNS}", "-"]
    narrow = subprocess.run(command, input=source, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return f"```python\n{narrow.rstrip()}\n```"


def deck_of(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The deck as a notebook of Markdown cells, one and its notes a slide, which nbconvert turns into a page."""
    cells = []
    for slide in Deck(notebook).slides:
        shown = {"slideshow": {"slide_type": "slide"}, "look": slide.look}
        cells.append(nbformat.v4.new_markdown_cell(slide.markdown(), metadata=shown))
        notes = "\n\n".join(plain_links(note) for note in slide.notes)
        cells.append(nbformat.v4.new_markdown_cell(notes, metadata={"slideshow": {"slide_type": "notes"}}))
    title = blocks(notebook.cells[0].source)[0].lstrip("# ")
    return nbformat.v4.new_notebook(cells=cells, metadata={"title": title})


def to_html(notebook: nbformat.NotebookNode) -> str:
    """The deck of this notebook as a page that needs nothing beside it."""
    styles = [MODULES / "reveal.js/dist/reveal.css", ROOT / "class/slides/slides.css"]
    style = "\n".join(path.read_text("utf-8") for path in styles) + HtmlFormatter().get_style_defs(".highlight")
    scripts = [(MODULES / name).read_text("utf-8").replace("</script", r"<\/script") for name in SCRIPTS]
    exporter = SlidesExporter(
        template_name="slides", extra_template_basedirs=[str(ROOT / "class")], exclude_anchor_links=True
    )
    return exporter.from_notebook_node(deck_of(notebook), {"deck": {"style": style, "scripts": scripts}})[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="+", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build" / "slides")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for path in options.notebooks:
        notebook = nbformat.read(path, as_version=4)
        (options.output / f"{path.stem}.html").write_text(to_html(notebook), encoding="utf-8")
        print(f"{path.stem}: {len(Deck(notebook).slides)} slides")


if __name__ == "__main__":
    main()
