"""Generate pages from the code while mkdocs builds the site, so that they are always up to date.

mkdocs loads this file through the `hooks` entry of mkdocs.yml, with docs/ on the import path.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from axolotl_dmt.config.json_schema import yaml_schema
from reference_commands import command_reference
from reference_hooks import hook_reference

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/axolotl-dmt/axolotl-dmt"
_FROM_README = re.compile(r"<!-- README: (.+) -->")
_TEST = re.compile(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)`")
_BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def generated() -> dict[str, str]:
    """Return the text of every generated page and file by its path in the site."""
    return {
        "commands.md": command_reference(),
        "hooks.md": hook_reference(),
        "dmt.schema.json": json.dumps(yaml_schema(), indent=2) + "\n",
        "tasks.md": (ROOT / "eval_tasks/README.md").read_text(encoding="utf-8"),
        "templates.md": _into_repository("yaml_templates/README.md"),
        "benchmarks.md": (ROOT / "benchmarks/README.md").read_text(encoding="utf-8"),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }


def _into_repository(page: str) -> str:
    """Return a page with its relative links pointed at the files in the repository."""
    text, folder = (ROOT / page).read_text(encoding="utf-8"), page.rpartition("/")[0]
    return re.sub(r"\]\((?!https?:|#)", f"]({REPOSITORY}/blob/main/{folder}/", text)


def with_readme_blocks(markdown: str) -> str:
    """Replace `<!-- README: words -->` by the code block of README.md that starts with the words.

    This keeps the output of a run in one place only.

    Raises:
        ValueError: README.md has no such block.
    """
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    def block(match: re.Match[str]) -> str:
        for text in _BLOCK.findall(readme):
            if text.startswith(match[1]):
                return f"```\n{text}```"
        raise ValueError(f"README.md has no block that starts with {match[1]!r}")

    return _FROM_README.sub(block, markdown)


def with_linked_tests(markdown: str) -> str:
    """Replace `file.py::test` by a link to the file, with the test's name as its tooltip."""
    return _TEST.sub(rf'[\1]({REPOSITORY}/blob/main/tests/\1 "\2")', markdown)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the files that mkdocs found (an mkdocs event)."""
    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **event: Any) -> str:
    """Insert the blocks that a page takes from README.md, and link tests (an mkdocs event)."""
    return with_linked_tests(with_readme_blocks(markdown))
