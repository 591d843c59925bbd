"""What pages of the site say that follows from the notebooks, the package's docstrings and the studies' results.

In a page, `<!-- name -->` on a line of its own is replaced by what the function `name` below returns, and `[[03 § 2]]`
by a link to section 2 of notebook 03. A lesson, a method or a result that comes later stands in the pages by itself.
"""

import functools
import importlib
import inspect
import json
import pathlib
import re
import statistics
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import stamp
import tex
from myst_parser.slugs import github_slugify

import gan_utils
from gan_utils import games, losses, penalties

ROOT = pathlib.Path(__file__).parent.parent
MODULES = [name for name in gan_utils.__all__ if inspect.ismodule(getattr(gan_utils, name))]
# Of a game whose docstring has words only.
EQUATIONS = {
    "UnrolledGAN": "D, looked ahead   θ₀ = θ,  θₖ₊₁ = θₖ − η·∇ its loss at θₖ,  K times\n"
    "G minimises       its loss of the objective at θ_K",
}
HEADER = re.compile(r"(Args|Attributes|Returns|Raises|Example|Examples|Yields):")


def write(source: pathlib.Path) -> None:
    """Fills the pages in the folder of Sphinx' sources, and adds a page for each module of the package."""
    for page in [*source.glob("*.md"), source / "docs" / "class.md"]:
        text = fill(page.read_text("utf-8"))
        if page.parent != source:
            text = text.replace("](notebooks/", "](../notebooks/")
        if text != page.read_text("utf-8"):
            page.write_text(text, "utf-8")
    folder = source / "reference"
    folder.mkdir(exist_ok=True)
    for name in MODULES:
        (folder / f"{name}.rst").write_text(module_page(name), "utf-8")


def fill(text: str) -> str:
    """The text of a page with its markers and links replaced."""
    text = re.sub(r"(?m)^<!-- (\w+) -->$", lambda match: PARTS[match[1]](), text)
    return re.sub(r"\[\[(\d\d)(?: § (\w+))?\]\]", lambda match: section(match[1], match[2]), text)


# The notebooks.


@functools.cache
def lessons() -> dict[str, tuple[str, str]]:
    """Of each notebook that is there, by its two digits: the name of its file, and the text of its markdown cells."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        found[path.name[:2]] = path.name, text
    return found


def section(number: str, title: str | None) -> str:
    """A link to a notebook, or to its section that begins with a number or a word, such as Exercises."""
    if number not in lessons():
        raise ValueError(f"Got a link to notebook {number}, expected one of {', '.join(lessons())}.")
    name, text = lessons()[number]
    if title is None:
        return f"[{number}](notebooks/{name})"
    headings = re.findall(r"(?m)^##+ (.*)$", text)
    heading = next((heading for heading in headings if re.match(rf"{title}\b", heading)), None)
    if heading is None:
        raise ValueError(f"Got a link to section {title} of {name}, expected the beginning of one of {headings}.")
    return f"[{number}, section {title}](notebooks/{name}#{github_slugify(heading)})"


def times() -> str:
    """A table of the lessons with what each says of its time."""
    rows = ["| lesson | its time, as it says itself |", "|---|---|"]
    for name, text in lessons().values():
        title = re.search(r"(?m)^# (.*)$", text)[1]
        time = re.search(r"(?m)^\| \*\*Time\*\* \| (.*) \|$", text)[1]
        time = re.sub(r"\w", lambda match: match[0].upper(), time, count=1)
        rows.append(f"| [{title}](notebooks/{name}) | {time} |")
    return "\n".join(rows)


def semester() -> str:
    """A table with a week for each lesson: what is read and done in class, and what at home."""
    rows = ["| week | in class | at home |", "|---|---|---|"]
    for week, (name, text) in enumerate(lessons().values(), start=1):
        title = re.search(r"(?m)^# (.*)$", text)[1]
        rows.append(
            f"| {week} | [{title}](notebooks/{name}), its core route | what is marked optional; its exercises |"
        )
    return "\n".join(rows)


def first_lesson() -> str:
    """The second door: notebook 01 on Colab, or as a page while the course has no public address."""
    name, _ = lessons()["01"]
    address, version = stamp.read_project(ROOT)
    if address is None:
        page = f":link: notebooks/{name.removesuffix('.ipynb')}\n:link-type: doc\n"
        return f"{page}Notebook 01 to read, with all its pictures; on your machine, `make demo` runs it."
    url = f"https://colab.research.google.com/github/{address}/blob/v{version}/notebooks/{name}"
    return f":link: {url}\nNotebook 01 on Colab. Nothing to install."


def gallery() -> str:
    """The README's table of lessons, each with its picture."""
    readme = (ROOT / "README.md").read_text("utf-8")
    return re.search(r"(?ms)^\| \| lesson \|.*?(?=\n\n)", readme)[0]


def terms(glossary: pathlib.Path) -> tuple[dict[str, str], set[str]]:
    """What the glossary explains: its words, each in small letters to as the page has it, and its symbols in TeX."""
    inside = "".join(re.findall(r"(?s)```\{glossary\}\n(.*?)```", glossary.read_text("utf-8")))
    found = re.findall(r"(?m)^\S.*$", inside)
    symbols = {term.strip("$") for term in found if term.startswith("$")}
    return {term.lower(): term for term in found if not term.startswith("$")}, symbols


# The package and the studies.


def blocks(docstring: str) -> Iterator[tuple[str, bool]]:
    """The paragraphs of a docstring before and between its sections, each with whether it is indented: an equation."""
    header = False
    for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        indented = block.startswith("    ")
        header = bool(HEADER.fullmatch(block.splitlines()[0])) or (header and indented)
        if not header:
            yield block, indented


def described(docstring: str) -> tuple[str, list[str], str]:
    """The first paragraph of a docstring, its equations, and its papers as links."""
    text = list(blocks(docstring))
    papers = [re.sub(r"^References?: ", "", block) for block, _ in text if re.match("References?: ", block)]
    equations = [textwrap.dedent(block) for block, indented in text if indented]
    return " ".join(text[0][0].split()), equations, link_papers(" ".join(papers))


def link_papers(text: str) -> str:
    """The text on one line, with each arXiv number a link, and its number in the bibliography."""
    linked = r"[arXiv:\1](https://arxiv.org/abs/\1)"
    text = re.sub(r"arXiv:(\d{4}\.\d{4,5})", linked, " ".join(text.split()))
    return re.sub(r"\[arXiv:(.*?)\]\(.*?\)", lambda match: f"{match[0]} {{cite:p}}`{references()[match[1]]}`", text)


@functools.cache
def references() -> dict[str, str]:
    """The key in docs/references.bib of each paper, by its number on arXiv."""
    entries = (ROOT / "docs" / "references.bib").read_text("utf-8")
    return {number: key for key, number in re.findall(r"(?s)@misc\{(\w+),.*?eprint = \{(.*?)\}", entries)}


@functools.cache
def results(name: str) -> list[dict[str, Any]]:
    """The runs of a study, as far as it has gone."""
    path = ROOT / "data" / "results" / f"{name}.json"
    return json.loads(path.read_text("utf-8"))["runs"] if path.exists() else []


@functools.cache
def recipes() -> dict[str, str]:
    """The methods of the study at equal cost, each with its recipe in words."""
    return {run["method"]: run["recipe"] for run in [*results("equal_cost_rates"), *results("equal_cost")]}


def uses(maker: str) -> list[str]:
    """The methods of the study whose recipe has this objective, penalty or game."""
    return [method for method, recipe in recipes().items() if re.search(rf"\b{re.escape(maker)}\(", recipe)]


def compile_line(recipe: str) -> str:
    """How a method is compiled, from its recipe: `objective; penalty; normalization in D; optimizer; k D steps`."""
    name, given = re.fullmatch(r"(\w+)\((.*?)\)", recipe.split("; ")[0]).groups()
    settings = ["d_optimizer", "g_optimizer"]
    if name in losses.MAKERS:
        settings.append(f"objective={call(recipe.split('; ')[0])}")
        named = [f"penalties.{one}" for one in re.findall(r"\w+\(weight=[\d.]+\)", recipe)]
        settings += [f"penalty={' + '.join(named)}"] if named else []
    steps = int(re.search(r"(\d+) D steps", recipe)[1])
    settings += [f"d_steps={steps}"] if steps > 1 else []
    line = python("gan.compile", settings)
    if name in losses.MAKERS:
        return line
    networks = ["generator", "discriminator", "latent_dim=100", *([given] if given else [])]
    return f"{python(f'gan = games.{name}', networks)}\n{line}"


def python(function: str, arguments: list[str]) -> str:
    """A call on one line, or with a line for each argument where it would be too long to be read on a page."""
    line = f"{function}({', '.join(arguments)})"
    return line if len(line) <= 80 else f"{function}(\n    {f',{chr(10)}    '.join(arguments)},\n)"


def call(objective: str) -> str:
    """The Python that makes an objective of that name."""
    name, given = re.fullmatch(r"(\w+)\((.*)\)", objective).groups()
    if isinstance(losses.MAKERS[name], functools.partial):
        return f"losses.f_divergence({', '.join([json.dumps(name), *([given] if given else [])])})"
    return f"losses.{objective}"


def score(method: str, name: str) -> str:
    """Mean Fréchet distance of a method on a data set, and its standard error where there are three runs."""
    runs = [run for run in results("equal_cost") if (run["method"], run["data"]) == (method, name)]
    found = [run["frechet"] for run in runs if run.get("frechet") is not None]
    if not runs:
        return "not yet"
    if len(found) < len(runs):
        return f"{len(runs) - len(found)} of {len(runs)} ended in NaN"
    if len(found) < 3:
        return f"{statistics.mean(found):.1f} ({len(found)} of 3 runs)"
    return f"{statistics.mean(found):.1f} ± {statistics.stdev(found) / len(found) ** 0.5:.1f}"


def equal_cost(methods: list[str] | None = None) -> str:
    """The table at equal cost: of all methods that have a run, or of these."""
    done = {run["method"] for run in results("equal_cost")}
    shown = [method for method in recipes() if method in done and method in (methods or done)]
    rows = ["| method | rate | Fréchet distance, MNIST | Fashion-MNIST |", "|---|---|---|---|"]
    for method in shown:
        rate = next(run["rate"] for run in results("equal_cost") if run["method"] == method)
        rows.append(f"| {method} | {rate:g} | {score(method, 'MNIST')} | {score(method, 'Fashion-MNIST')} |")
    return "\n".join(rows) if shown else "Its runs are not made yet."


def entry(title: str, summary: str, equation: str, code: str, papers: str, methods: list[str]) -> str:
    """A method on the page of methods."""
    parts = [f"### {title}", summary, tex.block(equation), f"```python\n{code}\n```", f"Paper: {papers}"]
    return "\n\n".join([*parts, equal_cost(methods)] if methods else parts)


def objectives() -> str:
    """An entry for each objective of `losses.MAKERS`."""
    table = {}  # from the module's docstring: name, D's loss, G's loss
    for line in losses.__doc__.splitlines():
        parts = re.split(r"\s{2,}", line.strip())
        if len(parts) == 3:
            table[parts[0]] = f"D minimises   {parts[1]}\nG minimises   {parts[2]}"
    first = link_papers(re.search(r"References: (.*?arXiv:[\d.]+)", losses.__doc__, re.DOTALL)[1])
    entries = []
    for name, maker in losses.MAKERS.items():
        if isinstance(maker, functools.partial):
            continue
        summary, _, papers = described(maker.__doc__)
        recipe = next((recipes()[method] for method in uses(name)), f"{name}(); 1 D steps")
        entries.append(entry(name, summary, table[name], compile_line(recipe), papers or first, uses(name)))
    return "\n\n".join(entries)


def f_divergences() -> str:
    """An entry for all f-divergences, with their table."""
    names = [name for name, maker in losses.MAKERS.items() if isinstance(maker, functools.partial)]
    summary, equations, papers = described(losses.f_divergence.__doc__)
    lines = [f"objective={call(f'{name}(non_saturating=True)')}" for name in names]
    code = "\n".join(python("gan.compile", ["d_optimizer", "g_optimizer", line]) for line in lines)
    methods = [method for name in names for method in uses(name)]
    return entry("f_divergence", summary, "\n\n".join(equations), code, papers, methods)


def penalty_list() -> str:
    """An entry for each penalty of `penalties.MAKERS`."""
    entries, papers = [], ""
    for name, maker in penalties.MAKERS.items():
        equation, *rest = [" ".join(block.split()) for block, _ in blocks(maker.__doc__)]
        papers = described(maker.__doc__)[2] or papers  # r2 is a sibling of r1
        recipe = next((recipes()[method] for method in uses(name)), f"non_saturating(); {name}(weight=10.0); 1 D steps")
        summary = rest[0] if rest else "The other half of `r1`."
        entries.append(entry(name, summary, equation, compile_line(recipe), papers, uses(name)))
    return "\n\n".join(entries)


def game_list() -> str:
    """An entry for each game of `games`."""
    entries = []
    for name, kind in vars(games).items():
        if not inspect.isclass(kind) or kind.__module__ != games.__name__ or name.startswith("_"):
            continue
        if not issubclass(kind, games.GAN):
            continue
        summary, equations, papers = described(kind.__doc__)
        known = (*inspect.signature(games.GAN.__init__).parameters, "args", "kwargs")
        own = [one for one in inspect.signature(kind.__init__).parameters.values() if one.name not in known]
        given = ", ".join(f"{one.name}={one.name if one.default is one.empty else repr(one.default)}" for one in own)
        recipe = next((recipes()[method] for method in uses(name)), f"{name}({given}); 1 D steps")
        equation = equations[0] if equations else EQUATIONS[name]
        entries.append(entry(name, summary, equation, compile_line(recipe), papers, uses(name)))
    return "\n\n".join(entries)


def part_list() -> str:
    """A table of the layers and wrappers that papers propose for the networks themselves."""
    rows = ["| | what it does | paper |", "|---|---|---|"]
    for module in ("normalization", "layers", "attention", "diversity"):
        home = importlib.import_module(f"gan_utils.{module}")
        for name, thing in inspect.getmembers(home, lambda thing: inspect.isclass(thing) or inspect.isfunction(thing)):
            if thing.__module__ != home.__name__ or name.startswith("_") or not thing.__doc__:
                continue
            summary, _, papers = described(thing.__doc__)
            if papers:
                rows.append(f"| `{module}.{name}` | {' '.join(summary.split())} | {papers} |")
    return "\n".join(rows)


def reference() -> str:
    """A table of the modules, with a hidden list of their pages."""
    rows = ["| module | |", "|---|---|"]
    for name in MODULES:
        summary = described(importlib.import_module(f"gan_utils.{name}").__doc__)[0]
        rows.append(f"| [{name}](reference/{name}.rst) | {summary} |")
    pages = "\n".join(f"reference/{name}" for name in MODULES)
    return "\n".join(rows) + f"\n\n```{{toctree}}\n:hidden:\n\n{pages}\n```"


def module_page(name: str) -> str:
    """The page of a module: its docstring and those of its public names, by autodoc."""
    return f"{name}\n{'=' * len(name)}\n\n.. automodule:: gan_utils.{name}\n   :members:\n   :show-inheritance:\n"


PARTS: dict[str, Callable[[], str]] = {
    "equal_cost": equal_cost,
    "f_divergences": f_divergences,
    "gallery": gallery,
    "first_lesson": first_lesson,
    "game_list": game_list,
    "objectives": objectives,
    "part_list": part_list,
    "penalty_list": penalty_list,
    "reference": reference,
    "semester": semester,
    "times": times,
}
