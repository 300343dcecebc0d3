"""OpenCV, which is an extra: imported where it is needed, with an error that names the extra."""

from __future__ import annotations

from types import ModuleType


def load_opencv() -> ModuleType:
    """The module ``cv2``.

    Raises:
        ImportError: it is not installed; the message says which extra brings it.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError("this needs OpenCV; install it with: pip install 'spatialvlm[reconstruction]'") from error
    return cv2
