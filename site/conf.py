"""The course as a site. `make site` gathers the sources in build/site-source, and Sphinx builds them with this file.

Notebooks are shown with their stored outputs; nothing is executed, and their cells stay as they are: what the site adds
to a page (folded solutions, words for pictures, links to the glossary) is added while the page is read.
"""

import json
import os
import pathlib
import re
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT / "tools")]

import generated  # noqa: E402
import stamp  # noqa: E402
from docutils import nodes  # noqa: E402
from sphinx import addnodes  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

ADDRESS, VERSION = stamp.read_project(ROOT)

project = "Generative adversarial networks"
author = "the authors of the course"
language = "en"
extensions = ["myst_nb", "sphinx_copybutton", "sphinx_design", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
extensions += ["sphinxcontrib.bibtex"]

nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # outputs have tables and formulas, as the text has
nb_code_prompt_show = "Show the solution"  # only solutions are folded
nb_code_prompt_hide = "Hide the solution"
nb_ipywidgets_js = {}  # a slider needs a kernel; here its last picture stands still
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "html_image", "attrs_inline"]
myst_heading_anchors = 3

bibtex_bibfiles = ["../docs/references.bib"]
bibtex_default_style = "plain"  # numbers, in the order of authors
bibtex_cite_id = "{key}"

default_role = "code"  # the docstrings' `name`
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False  # Keras' own methods are in Keras' reference
napoleon_use_ivar = True

html_theme = "sphinx_book_theme"
html_title = "GANs: a course in notebooks"
html_static_path = ["_static"]
html_css_files = ["course.css", "site.css"]
html_favicon = "_static/favicon.ico"
html_context = {"default_mode": "auto"}
html_use_index = html_domain_indices = False
html_copy_source = True
html_sourcelink_suffix = ""
html_show_copyright = False
html_theme_options = {
    "navbar_persistent": [],
    "search_bar_text": "Search the course",
    "show_toc_level": 2,
    "use_fullscreen_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "navigation_with_keys": False,
}
if ADDRESS:  # until tools/stamp.py has set one, there is nothing that a button could open
    html_theme_options |= {
        "repository_url": f"{stamp.HOST}{ADDRESS}",
        "repository_branch": f"v{VERSION}",
        "use_repository_button": True,
        "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    }
# For `make links`: what is not on the web, or turns away programs that look.
linkcheck_ignore = [r"https?://127\.0\.0\.1", r"https://(www\.)?kaggle\.com"]
linkcheck_anchors = False
linkcheck_timeout, linkcheck_retries, linkcheck_workers = 20, 3, 4
copybutton_selector = "div.cell_input div.highlight pre, div.highlight-python pre, div.highlight-default pre"
copybutton_exclude = ".linenos, .gp, .go"

# MathJax and its letters lie beside the pages; see the Makefile.
mathjax_path = "mathjax/tex-chtml.js"
mathjax4_config = {
    "loader": {"paths": {"fonts": "[mathjax]/fonts"}},
    "options": {"menuOptions": {"settings": {"inTabOrder": False}}},  # a page has hundreds of formulas
}


def add_to_cells(app: Sphinx, docname: str, source: list[str]) -> None:
    """Folds the solutions of a notebook and gives its pictures the words that their cells have for them."""
    if not docname.startswith("notebooks/"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        metadata = cell["metadata"]
        if "solution" in metadata.get("tags", []):
            metadata["tags"].append("hide-cell")
        if "alt" in metadata:
            metadata["mystnb"] = {"image": {"alt": metadata["alt"]}}
    source[0] = json.dumps(notebook)


def link_terms(app: Sphinx, doctree: nodes.document) -> None:
    """Links the first use of each term of the glossary in a lesson: a word, or a formula that is a symbol."""
    if not app.env.docname.startswith("notebooks/"):
        return
    words, symbols = generated.terms(HERE / "glossary.md")
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, sorted(words, key=len, reverse=True)))})\b", re.IGNORECASE)
    used: set[str] = set()

    def link(term: str, shown: nodes.Node) -> nodes.Node:
        used.add(term)
        # No reference warns here: the glossary is where the terms come from.
        reference = addnodes.pending_xref(
            "", shown, refdomain="std", reftype="term", reftarget=term, refdoc=app.env.docname, refexplicit=True
        )
        reference["classes"].append("term")
        return reference

    closed = (
        nodes.reference,
        nodes.literal,
        nodes.literal_block,
        nodes.title,
        nodes.math_block,
        nodes.thead,
        nodes.raw,
    )
    for node in list(doctree.findall(lambda node: isinstance(node, nodes.Text | nodes.math))):
        above = node.parent
        while above and not isinstance(above, (*closed, nodes.math, addnodes.pending_xref)):
            above = above.parent
        if above:
            continue
        if isinstance(node, nodes.math):
            if (term := node.astext()) in symbols - used:
                node.parent.replace(node, link(term, node.deepcopy()))
            continue
        parts: list[nodes.Node] = []
        text, done = node.astext(), 0
        for match in pattern.finditer(text):
            term = words[match[0].lower()]
            if term not in used:
                parts += [nodes.Text(text[done : match.start()]), link(term, nodes.inline("", match[0]))]
                done = match.end()
        if parts:
            node.parent.replace(node, [*parts, nodes.Text(text[done:])])


def keep_equations(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Lets a docstring keep its lines where it is indented: equations and tables. Its other text is no markup.

    In an example, nothing is changed.
    """
    kept = [""]
    header = block = example = False
    for line in lines:
        indented = line.startswith(" ")
        if line.strip() and not indented:
            header, block = bool(generated.HEADER.fullmatch(line)), False
        if indented and not header and not block and not kept[-1].strip():
            kept += [".. code-block:: text", ""]
            block = True
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if not block and not example and not line.lstrip().startswith("*"):
            line = re.sub(r"(?<!`)([|*])(?!`)", r"\\\1", line)
        kept.append(line)
    lines[:] = kept[1:]


def skip(app: Sphinx, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Leaves out the fields of named tuples, which their class explains."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def cite_papers(app: Sphinx, doctree: nodes.document) -> None:
    """Sets the number in the bibliography behind the first link of a lesson to each paper on arXiv."""
    if not app.env.docname.startswith("notebooks/"):
        return
    cited = set()
    for link in list(doctree.findall(nodes.reference)):
        key = generated.references().get(link.get("refuri", "").removeprefix("https://arxiv.org/abs/"))
        if key and key not in cited:
            cited.add(key)
            number = addnodes.pending_xref(
                "", nodes.inline(), refdomain="cite", reftype="p", reftarget=key, refdoc=app.env.docname
            )
            link.parent.insert(link.parent.index(link) + 1, [nodes.Text(" "), number])


def add_launches(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Sets the buttons that open a lesson: where tools/stamp.py says that it can be run. Other pages have none."""
    groups = context.get("header_buttons", [])
    for group in list(groups):
        if group.get("label") == "launch-buttons":
            if not pagename.startswith("notebooks/"):
                groups.remove(group)
                continue
            places = stamp.launches(f"{pagename.removeprefix('notebooks/')}.ipynb", ADDRESS, VERSION)
            group["buttons"] = [
                {"type": "link", "text": place, "tooltip": f"{place}: {hint}", "url": url}
                for place, (url, hint) in places.items()
            ]


def write_pages(app: Sphinx) -> None:
    """Writes what follows from the notebooks, the package and the studies, before Sphinx looks for pages."""
    generated.write(pathlib.Path(app.srcdir))


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", write_pages)
    app.connect("html-page-context", add_launches, priority=900)  # after the theme
    app.connect("source-read", add_to_cells)
    app.connect("doctree-read", link_terms)
    app.connect("doctree-read", cite_papers)
    app.connect("autodoc-process-docstring", keep_equations, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", skip)
