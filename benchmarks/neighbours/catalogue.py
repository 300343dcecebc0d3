"""The question types of the neighbours: which task of the published table each belongs to. Plain data.

Types that are not listed are answered and scored too, by what their answers look like, as a task of their own.
VSI-Bench: arXiv 2412.14171, its three difficulties of relative direction count as one task. VSTI-Bench: VLM-3R,
arXiv 2505.20279, relative positions and relative distances count as one task each. SPAR-Bench: arXiv 2503.22976, every
task by itself; tasks are listed under its three levels.
"""

from __future__ import annotations

from collections.abc import Mapping

VSI, VSTI, SPAR = "VSI-Bench", "VSTI-Bench", "SPAR-Bench"

_VSI: Mapping[str, tuple[str, ...]] = {
    "VSI object count": ("object_counting",),
    "VSI absolute distance": ("object_abs_distance",),
    "VSI object size": ("object_size_estimation",),
    "VSI room size": ("room_size_estimation",),
    "VSI relative distance": ("object_rel_distance",),
    "VSI relative direction": (
        "object_rel_direction_easy",
        "object_rel_direction_medium",
        "object_rel_direction_hard",
    ),
    "VSI route plan": ("route_planning",),
    "VSI appearance order": ("obj_appearance_order",),
}
_VSTI: Mapping[str, tuple[str, ...]] = {
    "VSTI camera-object distance": ("camera_obj_abs_dist",),
    "VSTI camera displacement": ("camera_displacement",),
    "VSTI change of distance": ("camera_obj_dist_change",),
    "VSTI camera movement": ("camera_movement_direction",),
    "VSTI relative position": ("obj_obj_relative_pos_nf", "obj_obj_relative_pos_ud", "obj_obj_relative_pos_lr"),
    "VSTI relative distance": ("camera_obj_rel_dist_v1", "camera_obj_rel_dist_v2", "camera_obj_rel_dist_v3"),
}
_SPAR: Mapping[str, tuple[str, ...]] = {
    "SPAR low level": (
        "depth_prediction_oc",
        "depth_prediction_oo",
        "distance_prediction_oc",
        "distance_prediction_oo",
        "depth_prediction_oc_mv",
        "depth_prediction_oo_mv",
        "distance_prediction_oc_mv",
        "distance_prediction_oo_mv",
    ),
    "SPAR medium level": ("position_matching", "camera_motion_infer", "view_change_infer"),
    "SPAR high level": (
        "distance_infer_center_oo",
        "distance_infer_center_oo_mv",
        "obj_spatial_relation_oo",
        "obj_spatial_relation_oc_mv",
        "obj_spatial_relation_oo_mv",
        "spatial_imagination_oc",
        "spatial_imagination_oo",
        "spatial_imagination_oc_mv",
        "spatial_imagination_oo_mv",
    ),
}

FAMILIES: Mapping[str, tuple[str, ...]] = {**_VSI, **_VSTI, **_SPAR}
TASK_NAMES: Mapping[str, str] = {VSI: "vsi_bench", VSTI: "vsti_bench", SPAR: "spar_bench"}

# what a type weighs in its benchmark's overall score: types that the published table counts as one task share 1
WEIGHTS: Mapping[str, float] = {
    kind: 1.0 / len(kinds) for families in (_VSI, _VSTI) for kinds in families.values() for kind in kinds
}
