"""Single frames of a video as pictures, decoded when they are read.

Frames are counted from the start and never sought by time: seeking in a video lands on a neighbour often enough to
shift a pose. Frames read in rising order therefore cost one pass through the video, any other order more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_file, check_size
from qa_generation.readers.opencv import load_opencv
from qa_generation.readers.undistortion import encode_jpeg
from qa_generation.scene import ComputedBlob


class Video:
    """An opened video that gives its frames as JPEG by number, the same bytes each time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._capture: Any = None
        self._next = 0

    def size(self) -> tuple[int, int]:
        """(width, height) of every frame; raises ``SceneError`` for a file that is no video."""
        cv2 = load_opencv(str(self.path))
        capture = self._open(cv2)
        try:
            return check_size(
                (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), str(self.path)
            )
        finally:
            capture.release()

    def frame(self, index: int) -> bytes:
        """Frame ``index`` from 0 as JPEG; raises ``SceneError`` where the video ends before it."""
        cv2 = load_opencv(str(self.path))
        if self._capture is None or index < self._next:
            self.close()
            self._capture = self._open(cv2)
        while self._next <= index:
            if not self._capture.grab():
                self.close()
                raise SceneError(f"{self.path}: video ends before frame {index}, expected a whole video")
            self._next += 1
        decoded, picture = self._capture.retrieve()
        if not decoded:
            raise SceneError(f"{self.path}: frame {index} cannot be decoded, expected a whole video")
        return encode_jpeg(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))

    def close(self) -> None:
        """Lets go of the file; the next frame opens it anew."""
        if self._capture is not None:
            self._capture.release()
        self._capture, self._next = None, 0

    def _open(self, cv2: Any) -> Any:
        check_file(self.path, "a video")
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise SceneError(f"{self.path}: cannot be opened as a video, expected a whole one in MKV")
        return capture


@dataclass(frozen=True)
class VideoFrameBlob(ComputedBlob):
    """Frame ``index`` of a video as JPEG, handed through ``compute``."""

    video: Video = field(kw_only=True)
    index: int = field(kw_only=True)

    def read(self) -> bytes:
        return self.compute(self.video.frame(self.index))
