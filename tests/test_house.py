"""The house: two storeys, and imports that point down only."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.readme import commands
from tests.root import ROOT
from unmel.service.wire.formats import FORMATS
from unmel.service.wire.schemas import ReconstructOptions

BELOW_HTTP = {"fastapi", "starlette", "uvicorn", "soundfile", "asyncio", "httpx"}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_models_know_nothing_of_http() -> None:
    """That they know nothing of the service, and the order of the rooms, `make lint` holds."""
    files = list((ROOT / "models").rglob("*.py"))
    assert files
    for path in files:
        tops = {name.split(".")[0] for name in imports(path)}
        assert not tops & BELOW_HTTP, path.name


def test_the_product_imports_itself_by_its_installed_name_and_no_benchmark_or_test() -> None:
    others = {"benchmarks", "tests", "examples", "librosa", "models", "service"}
    for path in [*(ROOT / "models").rglob("*.py"), *(ROOT / "service").rglob("*.py")]:
        tops = {name.split(".")[0] for name in imports(path)}
        assert not tops & others, path.name


def test_every_module_says_its_idea_in_its_first_line() -> None:
    for folder in ("models", "service", "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.stat().st_size:
                assert ast.get_docstring(ast.parse(path.read_text())), path


def test_the_architecture_page_names_every_room_and_file_and_no_other() -> None:
    plan = (ROOT / "docs" / "architecture.md").read_text()
    plan = plan.split("<!-- rooms -->")[1].split("<!-- end of rooms -->")[0]
    named = set(re.findall(r"[\w/]+/(?=`)|\w+\.py", plan))
    there = set()
    for top in ("models", "service"):
        for path in (ROOT / top).rglob("*.py"):
            room = path.parent.relative_to(ROOT)
            there.add(f"{room}/" if path.name == "__init__.py" else path.name)
    assert named == there


def test_links_between_the_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), (page.name, target)


def test_the_api_page_names_every_option_and_the_formats_page_every_format() -> None:
    api = (ROOT / "docs" / "api.md").read_text()
    for name in ReconstructOptions.model_fields:
        assert f"`{name}`" in api, name
    for name in FORMATS:
        assert f"`{name}`" in api, name
        assert (
            f"| `{name}` | `{FORMATS[name].media_type}"
            in (ROOT / "docs" / "formats.md").read_text()
        )


def test_readme_commands_are_cut_where_a_shell_would() -> None:
    text = """# A
```sh
make serve
curl -F 'config={"a": 1,
  "b": 2}' \\
  host
```
```python
no = 1
```
```sh
last
```
"""
    assert commands(text) == [
        "make serve",
        """curl -F 'config={"a": 1,\n  "b": 2}' \\\n  host""",
        "last",
    ]
