"""The docs agree with the code: keys, commands, hooks, file formats, links and examples."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from axolotl_dmt import hookspecs
from axolotl_dmt.checks.yaml_check import check_file
from axolotl_dmt.cli.main import dmt
from axolotl_dmt.config.args import INTERNAL, read_config
from axolotl_dmt.config.resolve import resolve_stages
from axolotl_dmt.hooks.calls import hook_manager, registered_strategies
from axolotl_dmt.plan import compile_plan
from axolotl_dmt.plan.training_plan import DomainDraw
from axolotl_dmt.results import (
    EVALUATE,
    HARDWARE,
    HOOKS,
    SOURCES,
    Results,
    Sample,
    Score,
    StageResult,
)
from axolotl_dmt.study.config import Study
from generated_pages import PAGES_OF_FILES, generated, with_site_links
from reference import SECTIONS
from reference_commands import commands
from reference_hooks import hooks
from tests.config.test_resolve import DEFAULTS
from tests.pools import domain, stage

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/axolotl-dmt/axolotl-dmt/"
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


GENERATED = generated()


def pages() -> dict[str, str]:
    """Return the Markdown of every page of the site, generated ones too, by its path."""
    docs = ROOT / "docs"
    written = {
        str(path.relative_to(docs)): path.read_text(encoding="utf-8")
        for path in sorted(docs.rglob("*.md"))
    }
    return {**written, **{path: text for path, text in GENERATED.items() if path[-3:] == ".md"}}


def blocks(language: str) -> Iterator[Any]:
    """Yield the code blocks of a language in the README and in all pages but the YAML reference."""
    written = {path: text for path, text in pages().items() if path != "yaml_reference.md"}
    for path, text in {"README.md": (ROOT / "README.md").read_text(), **written}.items():
        for number, (indent, kind, body) in enumerate(FENCE.findall(text)):
            if kind == language:
                body = re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
                yield pytest.param(body, id=f"{path}-{number}")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does, and return its folder."""
    folder = tmp_path_factory.mktemp("site")
    try:
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    except Abort as error:
        pytest.fail(f"mkdocs build --strict warns ({error}); run `make docs`")
    return folder


def test_the_site_builds_without_a_warning(site: Path) -> None:
    # A broken link or anchor is a warning too; see `validation` in mkdocs.yml.
    assert (site / "index.html").is_file()
    assert (site / "commands/index.html").is_file()


def test_the_site_loads_nothing_from_other_hosts(site: Path) -> None:
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]+src=\"(https?:[^\"]+)|<link rel=\"?stylesheet"
        r"[^>]+href=\"?(https?:[^\"]+)"
    )
    urls = {match for page in site.rglob("*.html") for match in loaded.findall(page.read_text())}
    assert not urls


def test_every_key_of_the_yaml_is_documented() -> None:
    page = pages()["yaml_reference.md"]
    for section, model, _ in SECTIONS:
        part = page.split(f"## `{section}`\n")[1].split("\n## ")[0]
        documented = re.findall(r"^### `(\w+)`$", part, re.MULTILINE)
        assert documented == [name for name in model.model_fields if name not in INTERNAL]


def test_the_published_schema_is_the_one_that_the_command_prints(site: Path) -> None:
    printed = CliRunner().invoke(dmt, ["schema"], catch_exceptions=False)
    published = json.loads((site / "dmt.schema.json").read_text(encoding="utf-8"))
    assert published == json.loads(printed.stdout)


def leaves(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.parametrize(("name", "command"), leaves(dmt, "axolotl dmt"))
def test_every_command_is_documented_with_its_options_and_defaults(
    name: str, command: click.Command
) -> None:
    entry = pages()["commands.md"].split(f"## `{name}`\n")[1].split("\n## ")[0]
    assert command.help and command.help.split("\n")[0] in entry
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.name} has no help text"
            row = next(row for row in entry.splitlines() if f"`{parameter.opts[0]}`" in row)
            default = parameter.get_default(click.Context(command))
            if isinstance(default, str | int | float) and not isinstance(default, bool):
                assert f"`{default}`" in row
        else:
            assert parameter.make_metavar(click.Context(command)) in entry


def test_the_page_of_commands_has_every_command_that_is_not_hidden() -> None:
    assert dict(commands()) == {
        name: command for name, command in leaves(dmt, "axolotl dmt") if not command.hidden
    }


def test_every_hook_is_documented_with_its_signature() -> None:
    page = pages()["hooks.md"]
    specified = [hook for hook in vars(hook_manager().hook) if not hook.startswith("_")]
    assert set(hooks()) == set(specified)
    for name in specified:
        hook = getattr(hookspecs, name)
        entry = page.split(f"## `{name}`\n")[1].split("\n## ")[0]
        arguments = ", ".join(map(str, inspect.signature(hook).parameters.values()))
        assert f"def {name}({arguments.replace(chr(39), '')})" in entry
        assert inspect.getdoc(hook).split("\n")[0] in entry


@pytest.mark.parametrize("code", blocks("python"))
def test_python_in_the_docs_can_be_compiled(code: str) -> None:
    compile(code, "docs", "exec")


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_in_the_docs_has_no_mistakes(text: str, tmp_path: Path) -> None:
    config = yaml.safe_load(text)
    if isinstance(config, dict) and "seeds" in config:
        Study.model_validate(config)
    if not isinstance(config, dict) or "dmt" not in config:
        return
    plugin = schedules()
    hook_manager().register(plugin)
    try:
        block = read_config(config["dmt"])
        if "base_model" in config:
            (tmp_path / "docs.yaml").write_text(text, encoding="utf-8")
            assert check_file(tmp_path / "docs.yaml", files=False).mistakes == ()
        elif "datasets" in config:
            domains = dict.fromkeys(entry["domain"] for entry in config["datasets"])
            assert resolve_stages(block, tuple(domains), DEFAULTS)
    finally:
        hook_manager().unregister(plugin)


def schedules() -> ModuleType:
    """Return the module that the page on strategies shows."""
    text = (ROOT / "docs/howto/strategy.md").read_text(encoding="utf-8")
    (code,) = (body for _, kind, body in FENCE.findall(text) if kind == "python")
    module = ModuleType("schedules")
    exec(compile(code, "strategy.md", "exec"), vars(module))
    return module


def test_the_strategy_in_the_docs_works() -> None:
    module = schedules()
    hook_manager().register(module)
    try:
        assert "warm_start" in registered_strategies()
        config = read_config({"strategy": "warm_start", "k": "1/64"})
        stages = resolve_stages(config, ("math", "general"), DEFAULTS)
        assert [stage.name for stage in stages] == ["taste", "specialise", "generalise"]
    finally:
        hook_manager().unregister(module)


def test_the_python_page_runs_as_shown_without_axolotl_or_torch() -> None:
    page = FENCE.findall((ROOT / "docs/python_api.md").read_text(encoding="utf-8"))
    code = "".join(body for _, kind, body in page if kind == "python" and "outputs/" not in body)
    code += "import sys; assert not {'torch', 'axolotl', 'transformers'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(body for _, kind, body in page if not kind)


def keys(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def test_every_key_of_a_study_is_documented() -> None:
    assert set(Study.model_fields) <= keys(pages()["howto/studies.md"])


def test_every_key_of_the_plan_as_json_is_documented() -> None:
    plan = compile_plan(
        stages=[stage({"math": "all"})], domains=[domain("math", 8)], seed=1, global_batch=4
    )
    summary = plan.to_json()
    names = {*summary, *summary["stages"][0], *(field.name for field in fields(DomainDraw))}
    assert names <= keys(pages()["plan_json.md"])


def test_every_key_of_results_json_is_documented() -> None:
    page = keys(pages()["results_json.md"])
    for kind in (Score, Sample):
        assert {field.name for field in fields(kind)} - {"extra"} <= page
    for kind in (StageResult, Results):
        assert {field.name for field in fields(kind)} - {"extra"} <= page
    assert set(Results(plan_fingerprint="").to_json()) <= page
    assert {EVALUATE, HOOKS, SOURCES, HARDWARE} <= page


def test_the_example_of_results_json_can_be_loaded() -> None:
    _, _, example = next(f for f in FENCE.findall(pages()["results_json.md"]) if f[1] == "json")
    assert Results.from_json(json.loads(example)).to_json() == json.loads(example)


def test_links_to_the_repository_lead_to_files() -> None:
    texts = {**pages(), "README.md": (ROOT / "README.md").read_text(encoding="utf-8")}
    for path, text in texts.items():
        for target in re.findall(re.escape(REPOSITORY) + r"(?:blob|tree)/main/([^)#\s]+)", text):
            assert (ROOT / target).exists(), f"{path} links to {target}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "eval_tasks/README.md"])
def test_relative_links_of_pages_outside_the_site_lead_to_files(page: str) -> None:
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


def map_of_the_package() -> dict[str, str]:
    """Return each row of the map in CONTRIBUTING.md: package or module, and its contents."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(\w+(?:/|\.py))` \| (.+) \|$", page, re.MULTILINE))


def test_the_map_of_the_package_names_every_folder_and_module() -> None:
    present = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "axolotl_dmt").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert set(map_of_the_package()) == present - {"__init__.py"}


def test_the_files_that_the_map_of_the_package_names_exist() -> None:
    for folder, contents in map_of_the_package().items():
        for name in re.findall(r"`(\w+\.py)`", contents):
            assert (ROOT / "axolotl_dmt" / folder / name).is_file(), f"{folder}{name}"


def test_the_tutorial_shows_the_outputs_of_the_readme() -> None:
    readme, tutorial = (
        [body for _, kind, body in FENCE.findall((ROOT / page).read_text()) if not kind]
        for page in ("README.md", "docs/tutorial.md")
    )
    for title in ("Abilities by stage\n", "Plan\n"):
        ours, theirs = (
            [body for body in bodies if body.startswith(title)] for bodies in (readme, tutorial)
        )
        assert ours == theirs and len(ours) == 1


def test_no_comment_stands_for_a_part_of_a_page() -> None:
    for path, text in {**pages(), "README.md": (ROOT / "README.md").read_text()}.items():
        comments = re.findall(r"<!--(.*?)-->", FENCE.sub("", text), re.DOTALL)
        hidden = [comment for comment in comments if "tests/" not in comment]
        assert not hidden or path == "changelog.md", f"{path}: {hidden}"


def test_links_of_the_docs_work_in_a_clone() -> None:
    for path in sorted((ROOT / "docs").rglob("*.md")):
        text = FENCE.sub("", path.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_links_out_of_the_docs_lead_to_pages_of_the_site() -> None:
    text = "[a](../../eval_tasks/README.md#x) [b](../../Makefile) [c](lora.md) [d](#e)"
    assert with_site_links(text, "howto/task.md") == (
        f"[a](../tasks.md#x) [b]({REPOSITORY}blob/main/Makefile) [c](lora.md) [d](#e)"
    )
    assert set(PAGES_OF_FILES.values()) <= set(GENERATED)
