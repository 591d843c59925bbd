"""Writes the course's public address wherever a reader needs it, so that the notebooks run on Colab.

    python tools/stamp.py OWNER/REPO   sets the address on GitHub
    python tools/stamp.py              writes again what follows from it: after a new version, or for a new notebook

The address stands in one place, pyproject.toml under [project.urls], and the version beside it. From these two follow
the setup cell and the Colab badge of every notebook, the addresses in CITATION.cff, in the README what stands between
`<!-- colab -->` and `<!-- /colab -->` (a button, the site, other ways to run and to download), and on the site the
buttons above each lesson, when it is built. While no address is set, only the setup cells are written; they then say
how to install by hand.

All links name the tag of the version, so an old notebook goes on finding the `gan_utils` it was written for.
"""

import argparse
import json
import pathlib
import re
import tomllib
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOST = "https://github.com/"
COLAB = "https://colab.research.google.com"
OPENING, CLOSING = "<!-- colab -->", "<!-- /colab -->"

# What GitHub allows as OWNER/REPO; a name that ends in .git is an address for cloning.
_ADDRESS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?/(?!\.\.?\Z)[A-Za-z0-9._-]{1,100}(?<!\.git)")
_SETUP_START = re.compile(r"(try:\n    )?import gan_utils\b")
_BADGE = re.compile(r"\[!\[Open in Colab\]\([^)\n]*\)\]\([^)\n]*\)")

_SETUP_BY_HAND = """\
try:
    import gan_utils
except ModuleNotFoundError as error:
    advice = "In a clone of the course, run 'make lab'; or run 'pip install -e .' there and restart this kernel."
    raise ModuleNotFoundError(f"{error}. {advice}") from None"""

_SETUP_BY_PIP = """\
try:
    import gan_utils
except ModuleNotFoundError:
    import importlib.metadata
    import importlib.util
    import subprocess
    import sys

    # Held to the versions that are here, pip cannot replace the TensorFlow that was built for this machine's GPU.
    names = [name for name in ("tensorflow", "keras", "numpy") if importlib.util.find_spec(name)]
    keep = [f"{name}=={importlib.metadata.version(name)}" for name in names]
    source = "SOURCE"
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-qq", source, *keep])
    import gan_utils

    print(f"Installed gan_utils {gan_utils.__version__}. Left unchanged: {', '.join(keep) or 'nothing'}.")"""


def setup_cell(address: str | None, version: str) -> str:
    """The text of every notebook's first code cell: it makes sure that `gan_utils` can be imported.

    Where it can be imported, the cell does only that. Elsewhere it installs this version, with an address; without
    one it raises a `ModuleNotFoundError` that says what to do.

    Args:
        address: OWNER/REPO on GitHub, or None while there is none.
        version: of `gan_utils`; the repository has it as the tag v{version}.

    Example:
        >>> "git+https://github.com/ada/gans@v1.0.0" in setup_cell("ada/gans", "1.0.0")
        True
    """
    if address is None:
        return _SETUP_BY_HAND
    return _SETUP_BY_PIP.replace("SOURCE", _source(address, version))


def read_project(root: pathlib.Path = ROOT) -> tuple[str | None, str]:
    """The address, or None while none is set, and the version, from pyproject.toml: the arguments of `setup_cell`.

    Raises:
        ValueError: the address there is not one on GitHub.
    """
    project = tomllib.loads(_read(root / "pyproject.toml"))["project"]
    url = project.get("urls", {}).get("Repository")
    return (None if url is None else check_address(url.removeprefix(HOST))), project["version"]


def check_address(address: str) -> str:
    """The address, if it is OWNER/REPO as GitHub spells it.

    Raises:
        ValueError: it is anything else, such as a URL.
    """
    if not _ADDRESS.fullmatch(address):
        raise ValueError(
            f"Got the address {address!r}, expected OWNER/REPO as on GitHub, such as ada/gan-course: "
            "no https://, no .git, nothing after the repository's name."
        )
    return address


def launches(name: str, address: str, version: str) -> dict[str, tuple[str, str]]:
    """Where a reader can open a notebook: each place with the address of a page there, and what to know of it.

    Args:
        name: of the notebook's file.
        address: OWNER/REPO on GitHub.
        version: of the course; the repository has it as the tag v{version}.

    Example:
        >>> launches("01_a.ipynb", "ada/gans", "1.0.0")["Download"][0]
        'https://raw.githubusercontent.com/ada/gans/v1.0.0/notebooks/01_a.ipynb'
    """
    path = f"notebooks/{name}"
    page = f"{HOST}{address}/blob/v{version}/{path}"
    raw = f"https://raw.githubusercontent.com/{address}/v{version}/{path}"
    return {
        "Colab": (f"{COLAB}/github/{address}/blob/v{version}/{path}", "runs here; a GPU is under Runtime"),
        "Kaggle": (f"https://kaggle.com/kernels/welcome?src={page}", "runs here, once Internet is on in its settings"),
        "Download": (raw, "the notebook alone, with its outputs"),
    }


def site_address(address: str) -> str:
    """Where .github/workflows/pages.yml publishes the site.

    Example:
        >>> site_address("ada/gans"), site_address("Ada/ada.github.io")
        ('https://ada.github.io/gans/', 'https://ada.github.io/')
    """
    owner, repository = address.lower().split("/")
    return f"https://{owner}.github.io/" + ("" if repository == f"{owner}.github.io" else f"{address.split('/')[1]}/")


def stamp(root: pathlib.Path = ROOT, address: str | None = None) -> list[pathlib.Path]:
    """Writes the address, or the one already set, into the checkout at `root`. Twice is the same as once.

    Everything is worked out before anything is written. Outputs, metadata and all other cells stay as they are.

    Returns:
        The files that changed.

    Raises:
        ValueError: the address is not OWNER/REPO, or a file is not in the shape that the course gives it.
        OSError: a file is missing.
    """
    known, version = read_project(root)
    address = known if address is None else check_address(address)
    paths = sorted((root / "notebooks").glob("*.ipynb"))
    texts = {path: _stamp_notebook(path, address, version) for path in paths}
    if address is not None:
        pyproject, readme = root / "pyproject.toml", root / "README.md"
        texts[pyproject] = _set_urls(_read(pyproject), address)
        texts[readme] = _set_block(_read(readme), _block(paths[0], address, version))
        if (citation := root / "CITATION.cff").exists():
            texts[citation] = _set_citation(_read(citation), address)
    changed = [path for path, text in texts.items() if text != _read(path)]
    for path in changed:
        path.write_text(texts[path], encoding="utf-8", newline="\n")
    return changed


def _read(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8")


def _source(address: str, version: str) -> str:
    return f"git+{HOST}{address}@v{version}"


def _badge(name: str, address: str, version: str) -> str:
    return f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({launches(name, address, version)['Colab'][0]})"


def _stamp_notebook(path: pathlib.Path, address: str | None, version: str) -> str:
    """The notebook's new text, by `json` in nbformat's layout: nbformat itself would also upgrade and sort the rest."""
    notebook = json.loads(_read(path))
    setup = _first_cell(notebook, "code")
    if setup is None or not _SETUP_START.match("".join(setup["source"])):
        raise ValueError(f"The first code cell of {path.name} is not the setup cell. Put 'import gan_utils' there.")
    _set_source(setup, setup_cell(address, version))
    if address is not None:
        title = _first_cell(notebook, "markdown")
        if title is None or not "".join(title["source"]).startswith("# "):
            raise ValueError(f"The first markdown cell of {path.name} has no title. Begin it with '# ' and the title.")
        _set_source(title, _set_badge("".join(title["source"]), _badge(path.name, address, version)))
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _first_cell(notebook: dict[str, Any], kind: str) -> dict[str, Any] | None:
    return next((cell for cell in notebook["cells"] if cell["cell_type"] == kind), None)


def _set_source(cell: dict[str, Any], text: str) -> None:
    cell["source"] = text.splitlines(keepends=True)


def _set_badge(text: str, badge: str) -> str:
    """Replaces the badge of a notebook's title cell; the first one goes below the title."""
    if _BADGE.search(text):
        return _BADGE.sub(lambda _: badge, text, count=1)
    title, _, rest = text.partition("\n")
    return "\n\n".join(part for part in (title, badge, rest.strip("\n")) if part)


def _set_urls(pyproject: str, address: str) -> str:
    """Writes the address as first lines of [project.urls]; text, not a TOML writer, so that comments survive."""
    text = re.sub(r'(?m)^(Repository|Documentation) = ".*"\n', "", pyproject)
    if "\n[project.urls]\n" not in text:
        text = re.sub(r"(?ms)^(\[project\]\n.*?)(?=^\[|\Z)", r"\1[project.urls]\n\n", text, count=1)
    urls = f'Repository = "{HOST}{address}"\nDocumentation = "{site_address(address)}"\n'
    return text.replace("\n[project.urls]\n", f"\n[project.urls]\n{urls}", 1)


def _set_citation(citation: str, address: str) -> str:
    """Writes where the repository and the site are as last lines of CITATION.cff."""
    text = re.sub(r"(?m)^(repository-code|url): .*\n", "", citation).rstrip("\n")
    return f"{text}\nrepository-code: {HOST}{address}\nurl: {site_address(address)}\n"


def _set_block(readme: str, block: str) -> str:
    """Replaces what stands between the two markers, or appends the block where the README has none."""
    count = readme.count(OPENING), readme.count(CLOSING)
    if count == (0, 0):
        return f"{readme.rstrip()}\n\n{block}\n".lstrip()
    before, _, rest = readme.partition(OPENING)
    _, found, after = rest.partition(CLOSING)
    if count != (1, 1) or not found:
        raise ValueError(f"Got a README with {OPENING} and {CLOSING} {count} times, expected each once, in this order.")
    return before + block + after


def _block(first: pathlib.Path, address: str, version: str) -> str:
    """What the README says between the markers: one button, and the other ways to the course."""
    button = f"{_badge(first.name, address, version)} opens the first notebook. Nothing to install."
    kaggle = launches(first.name, address, version)["Kaggle"][0]
    archive = f"{HOST}{address}/archive/refs/tags/v{version}.zip"
    site = f"[The course as a site]({site_address(address)}), with generators to play with in the browser."
    ways = f"{site} The first notebook [on Kaggle]({kaggle}). [All of it as a zip]({archive})."
    install = f"`gan_utils` alone: `pip install {_source(address, version)}`"
    return "\n\n".join([OPENING, button, ways, install, CLOSING])


def main() -> None:
    """Reads the command line, stamps, and says what changed and what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", metavar="OWNER/REPO", help="on GitHub; default: the one already set")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="the checkout; default: this script's own")
    options = parser.parse_args()
    try:
        changed = stamp(options.root, options.address)
        address, version = read_project(options.root)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    for path in changed:
        print(f"Wrote {path.relative_to(options.root)}.")
    if address is None:
        print("No address is set, so the notebooks say how to install by hand. Set one: tools/stamp.py OWNER/REPO")
    else:
        print(f"The address is {address}. The notebooks install from its tag v{version}: commit, then push that tag.")


if __name__ == "__main__":
    main()
