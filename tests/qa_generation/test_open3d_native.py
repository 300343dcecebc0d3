"""The compiled module alone does what the package does, lives beside it, and gives way to it where it is not found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qa_generation import open3d_native
from qa_generation.open3d_native import compiled_module

ROOT = Path(__file__).parents[2]
CAST = """
import numpy as np
from qa_generation.raycast import RayCaster, Region, view_rays
corners = np.array([[-9, -9, 2], [9, -9, 2], [0, 9, 3]], dtype=np.float32)
caster = RayCaster(corners, np.array([[0, 1, 2]], dtype=np.int32))
rays = view_rays(np.array([[20.0, 0, 9.5], [0, 20.0, 7.5], [0, 0, 1]]), np.eye(4), Region.frame((20, 16)))
depth, triangle = caster.first_hits(rays)
assert (triangle == 0).all()
"""


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.skipif(compiled_module() is None, reason="this Open3D has another layout")
def test_package_is_not_imported_and_can_be_afterwards() -> None:
    code = f"""
import sys
{CAST}
print("open3d" in sys.modules)
from qa_generation.open3d_native import open3d as native
import open3d as package
from open3d.t.geometry import RaycastingScene
print(RaycastingScene is native().t.geometry.RaycastingScene)
other = RaycastingScene(nthreads=1)
other.add_triangles(package.core.Tensor(corners), package.core.Tensor(np.array([[0, 1, 2]], dtype=np.uint32)))
print(np.array_equal(other.cast_rays(package.core.Tensor(rays), nthreads=1)["t_hit"].numpy(), depth))
"""
    assert run(code).split() == ["False", "True", "True"]


@pytest.mark.parametrize("found", ["None", "Path(folder) / 'pybind.so'"])
def test_package_is_used_where_the_module_is_missing_or_broken(found: str) -> None:
    code = f"""
import sys, tempfile
from pathlib import Path
from qa_generation import open3d_native
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "pybind.so").write_bytes(b"no library")
    open3d_native.compiled_module = lambda: {found}
    print(open3d_native.open3d().__name__)
{CAST}
"""
    assert run(code) == "open3d"


def test_package_that_is_there_already_is_used() -> None:
    import open3d

    open3d_native.open3d.cache_clear()
    assert open3d_native.open3d() is open3d


def test_every_module_takes_open3d_from_the_loader() -> None:
    importing = [
        path.name
        for path in (ROOT / "qa_generation").rglob("*.py")
        if any(line.startswith(("import open3d", "from open3d")) for line in path.read_text("utf-8").splitlines())
    ]
    assert importing == []
