"""Generate pages from the code while mkdocs builds the site, so that they are always up to date.

mkdocs loads this file through the `hooks` entry of mkdocs.yml, with docs/ on the import path.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from axolotl_dmt.config.json_schema import yaml_schema
from reference_commands import command_reference
from reference_hooks import hook_reference

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/axolotl-dmt/axolotl-dmt"
PAGES_OF_FILES = {
    "axolotl_dmt/cli/main.py": "commands.md",
    "axolotl_dmt/hookspecs.py": "hooks.md",
    "eval_tasks/README.md": "tasks.md",
    "yaml_templates/README.md": "templates.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""{file: the page that is generated from it}."""
_RELATIVE = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
_TEST = re.compile(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)`")


def generated() -> dict[str, str]:
    """Return the text of every generated page and file by its path in the site."""
    return {
        "commands.md": command_reference(),
        "hooks.md": hook_reference(),
        "dmt.schema.json": json.dumps(yaml_schema(), indent=2) + "\n",
        "tasks.md": (ROOT / "eval_tasks/README.md").read_text(encoding="utf-8"),
        "templates.md": _into_repository("yaml_templates/README.md"),
        # benchmarks/ is a sibling of docs/, so its links to docs/ are those of a page there.
        "benchmarks.md": with_site_links(
            (ROOT / "benchmarks/README.md").read_text(encoding="utf-8"), "benchmarks.md"
        ),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }


def _into_repository(page: str) -> str:
    """Return a page with its relative links pointed at the files in the repository."""
    text, folder = (ROOT / page).read_text(encoding="utf-8"), page.rpartition("/")[0]
    return re.sub(r"\]\((?!https?:|#)", f"]({REPOSITORY}/blob/main/{folder}/", text)


def with_site_links(markdown: str, page: str) -> str:
    """Point the links that lead out of docs/ to the site's pages, or else to the repository.

    The pages of docs/ link to files, so that the links also work in a clone.

    Args:
        markdown: the text of the page.
        page: its path in docs/.
    """
    folder = PurePosixPath(page).parent

    def target(match: re.Match[str]) -> str:
        path = posixpath.normpath((PurePosixPath("docs") / folder / match[1]).as_posix())
        if path.startswith("docs/"):
            return f"]({posixpath.relpath(path.removeprefix('docs/'), folder.as_posix())}"
        if path in PAGES_OF_FILES:
            return f"]({posixpath.relpath(PAGES_OF_FILES[path], folder.as_posix())}"
        return f"]({REPOSITORY}/blob/main/{path}"

    return _RELATIVE.sub(target, markdown)


def with_linked_tests(markdown: str) -> str:
    """Replace `file.py::test` by a link to the file, with the test's name as its tooltip."""
    return _TEST.sub(rf'[\1]({REPOSITORY}/blob/main/tests/\1 "\2")', markdown)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the files that mkdocs found (an mkdocs event)."""
    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, **event: Any) -> str:
    """Link the site's pages, and the tests that a page names (an mkdocs event)."""
    if page.file.generated_by:
        return with_linked_tests(markdown)
    return with_linked_tests(with_site_links(markdown, page.file.src_uri))
