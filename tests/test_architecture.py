"""The direction of imports between the packages, and how fast the command answers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "qa_generation": set(),
    "geometry_encoders": set(),
    "spatialvlm": {"geometry_encoders", "qa_generation"},
    "benchmarks": {"spatialvlm", "geometry_encoders", "qa_generation"},
    "app": {"benchmarks", "spatialvlm", "geometry_encoders", "qa_generation"},
}


def imported_roots(path: Path) -> set[str]:
    roots = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            roots.add(node.module.split(".")[0])
    return roots


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_no_upward_imports(package: str) -> None:
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[package] - {package}
    files = list((ROOT / package).rglob("*.py"))
    assert files
    found = {str(f.relative_to(ROOT)): imported_roots(f) & forbidden for f in files}
    assert {name: roots for name, roots in found.items() if roots} == {}


def test_questions_are_made_without_torch() -> None:
    files = [f for f in (ROOT / "qa_generation").rglob("*.py") if {"torch", "transformers"} & imported_roots(f)]
    assert files == []


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys; from spatialvlm.cli import build_app; build_app(); "
        "print([m for m in ('torch', 'transformers', 'open3d', 'lm_eval', 'datasets') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


def test_no_machine_paths_in_the_tree() -> None:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if listed.returncode:
        pytest.skip("not a git checkout")
    suffixes = {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".html", ".txt"}
    bad = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in suffixes and path.exists() and path.name != "test_architecture.py":
            text = path.read_text(encoding="utf-8", errors="replace")
            bad += [name for mark in ("/root/", "/home/", str(ROOT) + "/") if mark in text]
    assert bad == []
