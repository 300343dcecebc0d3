"""Open3D's compiled module, loaded without the Python package around it.

``import open3d`` also loads the twin of that module for CUDA, plotting, notebooks and machine learning helpers: some
340 MB of memory per process, where ray casting and mesh clean-up need 40 MB. A worker holds one scene at a time, so
that import alone was most of its memory. Everything in qa_generation that needs Open3D takes it from here.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

_CPU, _CUDA = "open3d.cpu.pybind", "open3d.cuda.pybind"
# what the package itself sets before it loads the module: torch may have brought its own OpenMP
_ENVIRONMENT = {"KMP_DUPLICATE_LIB_OK": "True", "TCM_ENABLE": "1"}


@cache
def open3d() -> ModuleType:
    """Open3D with ``core``, ``geometry``, ``t`` and ``utility``; the whole package where its layout is another one.

    Raises:
        ImportError: Open3D is not installed, or cannot be loaded.
    """
    if "open3d" not in sys.modules and (path := compiled_module()) is not None:
        try:
            return _load(path)
        except (ImportError, AttributeError):
            for name in _loaded(_CPU) + _loaded(_CUDA):
                del sys.modules[name]
    return import_module("open3d")


def compiled_module() -> Path | None:
    """The compiled module for CPUs inside the installed package; None where there is none at its usual place."""
    found = find_spec("open3d")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for suffix in EXTENSION_SUFFIXES:
            path = Path(folder) / "cpu" / f"pybind{suffix}"
            if path.is_file():
                return path
    return None


def _load(path: Path) -> ModuleType:
    spec = spec_from_file_location(_CPU, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: no module that this Python can load")
    os.environ.update(_ENVIRONMENT)
    module = module_from_spec(spec)
    # under its own name, so that a later ``import open3d`` finds it and does not register its types a second time,
    sys.modules[_CPU] = module
    spec.loader.exec_module(module)
    # which the CUDA twin would do as well
    for name in _loaded(_CPU):
        sys.modules.setdefault(name.replace(_CPU, _CUDA, 1), sys.modules[name])
    _ = (module.core.Tensor, module.t.geometry.RaycastingScene, module.geometry.TriangleMesh, module.utility)
    return module


def _loaded(prefix: str) -> list[str]:
    return [name for name in sys.modules if name == prefix or name.startswith(f"{prefix}.")]
