"""The question families, one module each with the same two functions: what qualifies, how a question is written."""

from __future__ import annotations

from functools import partial

from qa_generation.tasks import (
    attribute,
    best_view,
    camera_distance,
    count,
    existence,
    localization,
    object_distance,
    relation,
    size,
)
from qa_generation.tasks.base import Task
from qa_generation.tasks.relations import AXES

# numbers are spread over more classes than choices
_MEASURE_SHARE = 0.2

TASKS: dict[str, Task] = {
    count.TYPE: Task(count.candidates, count.write, max_share=0.3),
    best_view.TYPE: Task(best_view.candidates, best_view.write),
    localization.TYPE: Task(localization.candidates, localization.write, shares=localization.shares),
    count.NUMBER_TYPE: Task(
        partial(count.candidates, question_type=count.NUMBER_TYPE), count.write_number, max_share=0.3
    ),
    camera_distance.TYPE: Task(camera_distance.candidates, camera_distance.write, max_share=_MEASURE_SHARE),
    object_distance.TYPE: Task(object_distance.candidates, object_distance.write, max_share=_MEASURE_SHARE),
    size.TYPE: Task(size.candidates, size.write, max_share=_MEASURE_SHARE),
    localization.POINT_TYPE: Task(localization.point_candidates, localization.write_point, shares=localization.all_yes),
}
for _axis in sorted(AXES):
    for _family, _name in ((existence, "existence"), (attribute, "attribute")):
        TASKS[f"obj_{_name}_occ_{_axis}"] = Task(
            partial(_family.candidates, axis=_axis), partial(_family.write, axis=_axis)
        )
    TASKS[f"obj_spatial_occ_{_axis}"] = Task(
        partial(relation.candidates, axis=_axis),
        partial(relation.write, axis=_axis),
        max_share=0.3,
        group=partial(relation.group, axis=_axis),
    )
