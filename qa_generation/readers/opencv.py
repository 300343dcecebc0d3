"""OpenCV, which only some captures need: pictures of a distorted lens, and frames inside a video."""

from __future__ import annotations

import os
from types import ModuleType

from qa_generation.errors import SceneError

# FFmpeg would write its own complaint about a damaged video to the terminal, beside our sentence
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def load_opencv(where: str) -> ModuleType:
    """The module ``cv2``; raises ``SceneError`` naming the extra that brings it, ``where`` tells what needs it."""
    try:
        import cv2
    except ImportError:
        raise SceneError(
            f"{where} needs OpenCV to be read, which is missing here; pip install 'spatialvlm[reconstruction]'"
        ) from None
    return cv2
