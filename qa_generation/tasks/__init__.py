"""The question families, one module each with the same two functions: what qualifies, how a question is written."""

from __future__ import annotations

from functools import partial

from qa_generation.tasks import attribute, best_view, count, existence, localization, relation
from qa_generation.tasks.base import Task
from qa_generation.tasks.relations import AXES

TASKS: dict[str, Task] = {
    count.TYPE: Task(count.candidates, count.write, max_share=0.3),
    best_view.TYPE: Task(best_view.candidates, best_view.write),
    localization.TYPE: Task(localization.candidates, localization.write, shares=localization.shares),
}
for _axis in sorted(AXES):
    for _family, _name in ((existence, "existence"), (attribute, "attribute")):
        TASKS[f"obj_{_name}_occ_{_axis}"] = Task(
            partial(_family.candidates, axis=_axis), partial(_family.write, axis=_axis)
        )
    TASKS[f"obj_spatial_occ_{_axis}"] = Task(
        partial(relation.candidates, axis=_axis),
        partial(relation.write, axis=_axis),
        group=partial(relation.other_axes, axis=_axis),
    )
