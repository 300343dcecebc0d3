"""Works out the answer of a finished record again, from its words and the scene alone, sharing no code with the tasks.

`check_record` raises AssertionError unless exactly one option is true, for reasons a person could follow.
"""

from __future__ import annotations

import re

import numpy as np

from qa_generation.records import QARecord
from qa_generation.scene import Scene
from qa_generation.visibility_table import VisibilityTable

MARGIN_M = 0.15
_DIRECTION = (
    "to the left of|to the right of|lower than|higher than|closer to the camera than|farther from the camera than"
)


def camera_interval(scene: Scene, view_id: str, instance_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest camera coordinates of the eight corners of the instance's box."""
    pose = scene.view(view_id).world_to_camera
    box = scene.instances[instance_id].obb
    corners = []
    for i in (-0.5, 0.5):
        for j in (-0.5, 0.5):
            for k in (-0.5, 0.5):
                world = box.center + i * box.extents[0] * box.axes[0] + j * box.extents[1] * box.axes[1]
                world = world + k * box.extents[2] * box.axes[2]
                corners.append(pose[:3, :3] @ world + pose[:3, 3])
    return np.min(corners, axis=0), np.max(corners, axis=0)


def holds(scene: Scene, view_id: str, first: int, direction: str, second: int) -> bool:
    """Whether ``first direction second`` with a gap of the margin in the camera's axes."""
    (low_a, high_a), (low_b, high_b) = (camera_interval(scene, view_id, i) for i in (first, second))
    axis, beyond = {
        "to the left of": (0, False),
        "to the right of": (0, True),
        "higher than": (1, False),
        "lower than": (1, True),
        "closer to the camera than": (2, False),
        "farther from the camera than": (2, True),
    }[direction]
    return bool(low_a[axis] - high_b[axis] > MARGIN_M if beyond else low_b[axis] - high_a[axis] > MARGIN_M)


class Oracle:
    """Answers about the frames of one record."""

    def __init__(self, record: QARecord, scene: Scene, table: VisibilityTable) -> None:
        self.record, self.scene, self.table = record, scene, table
        self.rows = [table.view_ids.index(frame) for frame in record.frames]
        self.query = table.view_ids.index(record.query_frame) if record.query_frame else -1

    def visible(self, instance_id: int, row: int) -> bool:
        return bool(self.table.visible[row, self.table.instance_ids.index(instance_id)])

    def pixels(self, instance_id: int, row: int) -> int:
        return int(self.table.visible_pixels[row, self.table.instance_ids.index(instance_id)])

    def of(self, category: str) -> list[int]:
        return [i for i, instance in self.scene.instances.items() if instance.category == category]

    def visible_in_set(self, category: str) -> list[int]:
        return [i for i in self.of(category) if any(self.visible(i, row) for row in self.rows)]

    def center(self, instance_id: int, row: int) -> tuple[int, int]:
        box = self.table.boxes[row, self.table.instance_ids.index(instance_id)]
        scale = np.array(self.record.coord_size) / self.table.sizes[row]
        low, high = np.rint(box[:2] * scale), np.rint(box[2:] * scale)
        x, y = ((low + high) // 2).astype(int)
        return int(x), int(y)

    def reference(self, text: str) -> int:
        """The one instance that ``table`` or ``table(217,122)`` means in the query frame."""
        name, _, place = text.partition("(")
        shown = [i for i in self.of(name) if self.pixels(i, self.query)]
        if place:
            x, y = (int(v) for v in place.rstrip(")").split(","))
            assert len(shown) > 1
            shown = [i for i in shown if self.center(i, self.query) == (x, y)]
        assert len(shown) == 1 and self.visible(shown[0], self.query)
        return shown[0]

    def hidden(self, category: str) -> int:
        """The one instance of the category in the set, absent from the query frame and visible elsewhere."""
        shown = [i for i in self.of(category) if any(self.pixels(i, row) for row in self.rows)]
        assert len(shown) == 1 and self.pixels(shown[0], self.query) == 0
        assert any(self.visible(shown[0], row) for row in self.rows)
        return shown[0]

    # --- truth of one option text ---------------------------------------------------------------------------------

    def option_is_true(self, text: str) -> bool:
        family = self.record.question_type.split("_occ")[0]
        return getattr(self, "_" + family)(text)

    def _obj_count(self, text: str) -> bool:
        (category,) = re.findall(r"how many (.+)\(s\) can be seen in these", self.record.question)
        return int(text) == len(self.visible_in_set(category))

    def _bestview_count(self, text: str) -> bool:
        number, category, frame = re.fullmatch(r"(\d+) (.+)\(s\); Frame (\d)", text).groups()  # type: ignore[union-attr]
        shown = [sum(self.visible(i, row) for i in self.of(category)) for row in self.rows]
        area = [sum(self.pixels(i, row) for i in self.of(category) if self.visible(i, row)) for row in self.rows]
        best = max(range(len(shown)), key=lambda f: (shown[f], area[f]))
        return int(number) == len(self.visible_in_set(category)) and int(frame) == best + 1

    def _obj_localization(self, text: str) -> bool:
        (category,) = re.findall(r"show an? (.+)\? If yes", self.record.question)
        shown = [i for i in self.of(category) if self.pixels(i, self.query)]
        if text == "No":
            return not shown
        x, y = (int(v) for v in re.findall(r"\d+", text))
        return len(shown) == 1 and self.visible(shown[0], self.query) and self.center(shown[0], self.query) == (x, y)

    def _obj_existence(self, text: str) -> bool:
        pattern = rf"Seen from Frame \d, is the (.+?) ({_DIRECTION}) the (.+)\?"
        target, direction, reference = re.fullmatch(pattern, self.record.question).groups()  # type: ignore[union-attr]
        first, second = self.hidden(target), self.reference(reference)
        opposite = {"left": "right", "lower": "higher", "closer to": "farther from"}
        opposite |= {v: k for k, v in opposite.items()}
        (word,) = [w for w in opposite if w in direction]
        true = holds(self.scene, self.record.query_frame, first, direction, second)
        assert true != holds(
            self.scene, self.record.query_frame, first, direction.replace(word, opposite[word]), second
        )
        return (text == "Yes") == true

    def _obj_spatial(self, text: str) -> bool:
        pattern = r"Seen from Frame \d, where is the (.+) with respect to the (.+)\?"
        target, reference = re.fullmatch(pattern, self.record.question).groups()  # type: ignore[union-attr]
        direction, name = re.fullmatch(rf"({_DIRECTION}) the (.+)\.", text).groups()  # type: ignore[union-attr]
        assert name == reference.split("(")[0]
        first, second = self.hidden(target), self.reference(reference)
        return holds(self.scene, self.record.query_frame, first, direction, second)

    def _obj_attribute(self, text: str) -> bool:
        pattern = rf"Seen from Frame \d, which object is ({_DIRECTION}) the (.+)\?"
        direction, reference = re.fullmatch(pattern, self.record.question).groups()  # type: ignore[union-attr]
        second = self.reference(reference)
        seen = [i for i in self.of(text) if any(self.pixels(i, row) for row in self.rows)]
        assert seen
        if text == self.record.target_category:
            return holds(self.scene, self.record.query_frame, self.hidden(text), direction, second)
        return any(holds(self.scene, self.record.query_frame, i, direction, second) for i in seen)


def check_record(record: QARecord, scene: Scene, table: VisibilityTable) -> None:
    """Everything that must hold for a record of any of the six families."""
    oracle = Oracle(record, scene, table)
    assert 2 <= len(record.frames) <= 5 and len(set(record.frames)) == len(record.frames)
    assert len({scene.view(frame).size for frame in record.frames}) == 1
    pairs = [table.overlap[i, j] for i in oracle.rows for j in oracle.rows if i < j]
    assert max(pairs) <= 30.0 and abs(record.overlap_avg - np.mean(pairs)) < 1e-9 and record.overlap_max == max(pairs)
    assert 0.0 <= record.occlusion_avg <= 1.0
    assert "\n" not in record.question

    letters = [option[:3] for option in record.options]
    assert letters == [f"{letter}. " for letter in "ABCD"[: len(letters)]]
    texts = [option[3:] for option in record.options]
    assert len(set(texts)) == len(texts) == (2 if "existence" in record.question_type else 4)
    true = [letter[0] for letter, text in zip(letters, texts, strict=True) if oracle.option_is_true(text)]
    assert true == [record.mc_answer], f"{record.question} {record.options}: true are {true}"
    assert texts["ABCD".index(record.mc_answer)] == record.ground_truth
