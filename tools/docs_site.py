"""The hook of mkdocs that makes what the site has and ``docs/`` has not.

The README is the home page; the benchmarks' page, the changelog and CONTRIBUTING are pages as well, and links between
all of them lead from page to page, as they lead from file to file in the repository. The reference has a page for every
package, the command line's included; the gallery's images are made by running its code.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools.command_line import reference
from tools.gallery import MARK, images
from tools.layout import ROOT, lay_out

LOG = logging.getLogger("mkdocs.hooks.docs_site")
LAYOUT = ROOT / "build" / "layout"
# Files of the repository that are pages of the site.
PAGES = {
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
HOMES = {page: file for file, page in PAGES.items()}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(?=[)#])")


def on_startup(**_: object) -> None:
    """Lay the packages out before mkdocstrings looks for the folder."""
    lay_out(LAYOUT)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the reference's part of the navigation."""
    pages = [{title: f"api/{page}.md"} for page, (title, _) in packages().items()]
    for entry in config.nav or []:
        if "Reference" in entry:
            entry["Reference"] = ["api/index.md", *pages, {"Command line": "api/command-line.md"}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and images."""

    def add(place: str, content: str | bytes) -> None:
        files.append(File.generated(config, place, content=content))

    for file, page in PAGES.items():
        add(page, (ROOT / file).read_text(encoding="utf-8"))
    add("api/index.md", public_names())
    for page, (title, modules) in packages().items():
        add(f"api/{page}.md", f"# {title}\n\n" + "\n".join(f"::: {module}\n" for module in modules))
    add("api/command-line.md", reference())
    for name, image in images((ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")).items():
        add(f"gallery/{name}.png", image)
    return files


def on_page_markdown(markdown: str, page: Page, **kwargs: Any) -> str:
    """Lead the links of the repository's files to the site's pages; show the gallery's images under their code."""
    place = page.file.src_uri
    if place.startswith("api/"):
        return markdown
    home = PurePosixPath(HOMES.get(place, f"docs/{place}")).parent
    linked = LINK.sub(lambda found: _link(home, found[1]), markdown)
    return MARK.sub(r"![\g<alt>](gallery/\g<name>.png)", linked)


def _link(home: PurePosixPath, target: str) -> str:
    """The site's address of a file that a file in the folder ``home`` links to."""
    file = PurePosixPath(os.path.normpath(home / target)).as_posix()
    if file in PAGES:
        return PAGES[file]
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    LOG.warning("%s is linked to, and is no page of the site: add it to PAGES in tools/docs_site.py", file)
    return target


def packages() -> dict[str, tuple[str, list[str]]]:
    """The reference's pages: a title and modules each; all modules but the command line's and hidden ones."""
    found: dict[str, tuple[str, list[str]]] = {}
    for module in sorted(_modules()):
        parts = module.split(".")
        depth = 3 if parts[1] == "integrations" else 2
        # Modules right below tobias_aug and its integrations share a page each.
        package = ".".join(parts[:depth]) if len(parts) > depth else ".".join(parts[: depth - 1])
        if package == "tobias_aug.integrations" and len(parts) == 3 and (LAYOUT / Path(*parts)).is_dir():
            package = module
        page = package.removeprefix("tobias_aug.").replace(".", "-").replace("_", "-")
        found.setdefault(page.replace("tobias-aug", "ground"), (package, []))[1].append(module)
    return found


def _modules() -> Iterator[str]:
    for path in (ROOT / "tobias_aug").rglob("*.py"):
        yield from _public("tobias_aug", path.relative_to(ROOT / "tobias_aug"))
    for path in (ROOT / "integrations").rglob("*.py"):
        yield from _public("tobias_aug.integrations", path.relative_to(ROOT / "integrations"))


def _public(package: str, path: Path) -> Iterator[str]:
    parts = path.with_suffix("").parts
    inner = parts[:-1] if parts[-1] == "__init__" else parts
    hidden = any(part.startswith("_") for part in inner) or {"cli", "configs"} & set(inner)
    # A package's own file is a part of the reference where more stands in it than its first line.
    if not hidden and inner and not (parts[-1] == "__init__" and len(_text(package, path).splitlines()) < 5):
        yield ".".join([package, *inner])


def _text(package: str, path: Path) -> str:
    home = ROOT / "integrations" if package.endswith("integrations") else ROOT / "tobias_aug"
    return (home / path).read_text(encoding="utf-8")


def public_names() -> str:
    """The page of the names that ``tobias_aug`` itself has, with the first line of what they do."""
    import tobias_aug

    lines = ["# Public names", "", "`from tobias_aug import ...`:", "", "| name | what it does |", "| --- | --- |"]
    for name in tobias_aug.__all__:
        thing = getattr(tobias_aug, name)
        told = (thing.__doc__ or "").strip().splitlines()[0].replace("``", "`").replace("|", "\\|")
        lines.append(f"| [`{name}`][{thing.__module__}.{name}] | {told} |")
    lines += [
        "",
        "Every module that is meant to be imported has its section on the pages of this part of the site, by package. "
        "What begins with an underscore is not for use from outside.",
    ]
    return "\n".join(lines) + "\n"
