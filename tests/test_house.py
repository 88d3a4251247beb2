"""The house: two storeys, and imports that point down only."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
BELOW_HTTP = {"service", "fastapi", "starlette", "uvicorn", "soundfile", "asyncio", "httpx"}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_models_know_nothing_of_http_or_of_the_service() -> None:
    files = list((ROOT / "models").rglob("*.py"))
    assert files
    for path in files:
        tops = {name.split(".")[0] for name in imports(path)}
        assert not tops & BELOW_HTTP, path.name


def test_the_product_does_not_import_its_benchmarks_or_tests() -> None:
    for path in [*(ROOT / "models").rglob("*.py"), *(ROOT / "service").rglob("*.py")]:
        tops = {name.split(".")[0] for name in imports(path)}
        assert not tops & {"benchmarks", "tests", "examples", "librosa"}, path.name


def test_every_module_says_its_idea_in_its_first_line() -> None:
    for folder in ("models", "service", "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.stat().st_size:
                assert ast.get_docstring(ast.parse(path.read_text())), path
