"""Writes a hand-made street in the layout of Waymo Open v2: one parquet file for each component of a segment.

OUT/<split>/<component>/<segment>.parquet, columns, types, compression and row groups as in the release 2.0.1. States
the layout for itself and shares nothing with the reader, so that a test of one against the other means something.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float64

from qa_generation.writers.waymo_sensors import Rig, Sweep, encode, sweep
from qa_generation.writers.waymo_street import Block, Street

FIRST_MICROSECOND = 1_522_688_014_970_187
FRAME_MICROSECONDS = 100_000
ROWS_PER_GROUP = 256
TYPES = {"unknown": 0, "vehicle": 1, "pedestrian": 2, "sign": 3, "cyclist": 4}
MATRIX = pa.list_(pa.float64(), 16)
IMAGE_SHAPE = pa.list_(pa.int32(), 3)
FLOATS = pa.list_(pa.float32())


@dataclass(frozen=True)
class SegmentOptions:
    """How a segment is written.

    Attributes:
        frames: moments, ten a second.
        split: folder of the component folders; empty for none.
        text_names: cameras and lasers by name, as some files of the test split have them, and not by number.
        rows_per_group: rows of a parquet row group.
        leave_out: components that are not written.
        frozen: every moment is stored with what the first one shows, so that long segments are made in little time.
    """

    frames: int = 4
    split: str = "training"
    text_names: bool = False
    rows_per_group: int = ROWS_PER_GROUP
    leave_out: tuple[str, ...] = ()
    frozen: bool = False


def segment_name(number: int) -> str:
    """A name of the usual form: a context number, and start and end in seconds and milliseconds."""
    return f"{10_017_090_168_044_687_777 + 7919 * number}_{1000 + number}_000_{1020 + number}_000"


def write_waymo_segment(
    street: Street, out_root: Path, name: str, rig: Rig, options: SegmentOptions | None = None
) -> Path:
    """Writes all components of one segment and returns the folder of its split."""
    options = options or SegmentOptions()
    folder = out_root / options.split
    writers = {
        component: _Component(folder / component / f"{name}.parquet", schema, options.rows_per_group)
        for component, schema in _schemas(options.text_names).items()
        if component not in options.leave_out
    }
    try:
        for component, rows in _context_rows(rig).items():
            _write(writers, component, name, options, rows)
        for frame in range(options.frames):
            if frame == 0 or not options.frozen:
                shown = _frame_rows(street, rig, frame)
            for component, rows in shown.items():
                _write(writers, component, name, options, [dict(row) | _time_key(frame) for row in rows])
    finally:
        for writer in writers.values():
            writer.close()
    return folder


class _Component:
    """One parquet file, written row group by row group."""

    def __init__(self, path: Path, schema: pa.Schema, rows_per_group: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.schema, self.rows_per_group = schema, rows_per_group
        self.rows: list[Mapping[str, Any]] = []
        self.writer = pq.ParquetWriter(path, schema, compression="BROTLI")

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)
        if len(self.rows) == self.rows_per_group:
            self._flush()

    def close(self) -> None:
        self._flush()
        self.writer.close()

    def _flush(self) -> None:
        if self.rows:
            columns = [pa.array([row[field.name] for row in self.rows], field.type) for field in self.schema]
            self.writer.write_table(pa.table(columns, schema=self.schema))
            self.rows = []


def _write(
    writers: Mapping[str, _Component],
    component: str,
    segment: str,
    options: SegmentOptions,
    rows: Iterable[dict[str, Any]],
) -> None:
    if component not in writers:
        return
    for row in rows:
        keys = [segment, *(row[key] for key in ("key.frame_timestamp_micros",) if key in row)]
        for key in ("key.camera_name", "key.laser_name"):
            if key in row:
                number, text = row[key]
                row[key] = text if options.text_names else number
                keys.append(row[key])
        keys += [row[key] for key in ("key.laser_object_id",) if key in row]
        index = ";".join(str(key) for key in keys)
        writers[component].add({"index": index, "key.segment_context_name": segment} | row)


def _context_rows(rig: Rig) -> dict[str, list[dict[str, Any]]]:
    """What holds for the whole segment: the calibrations."""
    cameras, lasers = [], []
    for camera in rig.cameras:
        at = "[CameraCalibrationComponent]"
        names = ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
        lens = zip(names, (*camera.focal, *camera.center, *camera.distortion), strict=True)
        cameras.append(
            {"key.camera_name": (camera.number, camera.name)}
            | {f"{at}.intrinsic.{field}": value for field, value in lens}
            | {f"{at}.extrinsic.transform": camera.vehicle_from_camera.ravel().tolist()}
            | {f"{at}.width": camera.size[0], f"{at}.height": camera.size[1], f"{at}.rolling_shutter_direction": 1}
        )
    for laser in rig.lasers:
        at = "[LiDARCalibrationComponent]"
        lasers.append(
            {
                "key.laser_name": (laser.number, laser.name),
                f"{at}.extrinsic.transform": laser.vehicle_from_laser.ravel().tolist(),
                f"{at}.beam_inclination.min": float(np.radians(laser.limits_deg[0])),
                f"{at}.beam_inclination.max": float(np.radians(laser.limits_deg[1])),
                f"{at}.beam_inclination.values": np.radians(laser.beams_deg).tolist() if laser.beams_deg else None,
            }
        )
    return {"camera_calibration": cameras, "lidar_calibration": lasers}


def _frame_rows(street: Street, rig: Rig, frame: int) -> dict[str, list[dict[str, Any]]]:
    """All rows of one moment."""
    time_s = frame * FRAME_MICROSECONDS / 1e6
    key = _time_key(frame)
    snapshot = street.at(time_s)
    vehicle = street.street_from_vehicle(time_s)
    world = street.world_from_vehicle(time_s)
    rows: dict[str, list[dict[str, Any]]] = {
        "vehicle_pose": [key | {"[VehiclePoseComponent].world_from_vehicle.transform": world.ravel().tolist()}]
    }
    rows["camera_image"] = [
        key
        | {"key.camera_name": (camera.number, camera.name)}
        | _image_row(encode(camera.photograph(snapshot, vehicle)), world, street.speed, time_s)
        for camera in rig.cameras
    ]
    hits = np.zeros((2, len(street.blocks)), dtype=np.int64)
    rows["lidar"], rows["lidar_pose"] = [], []
    for laser in rig.lasers:
        found = sweep(laser, snapshot, street.street_from_vehicle, street.world_from_street)
        counted = found.first_hit.block[(found.first_hit.block >= 0) & (found.first_hit.distance <= laser.reach_m)]
        hits[0] += np.bincount(counted, minlength=len(street.blocks))
        hits[1] += np.bincount(counted, minlength=len(street.blocks)) * (laser.name == "TOP")
        laser_key = key | {"key.laser_name": (laser.number, laser.name)}
        rows["lidar"].append(laser_key | _range_row(found))
        if found.pixel_poses is not None:
            rows["lidar_pose"].append(laser_key | _grid("[LiDARPoseComponent].range_image_return1", found.pixel_poses))
    boxes = [(block, *hits[:, number].tolist()) for number, block in enumerate(street.blocks) if block.kind]
    rows["lidar_box"] = [key | _box_row(block, vehicle, time_s, total, top) for block, total, top in boxes]
    return rows


def _time_key(frame: int) -> dict[str, int]:
    return {"key.frame_timestamp_micros": FIRST_MICROSECOND + frame * FRAME_MICROSECONDS}


def _image_row(jpeg: bytes, world: Float64[np.ndarray, "4 4"], speed: float, time_s: float) -> dict[str, Any]:
    at = "[CameraImageComponent]"
    linear = world[:3, 0] * speed
    taken_s = FIRST_MICROSECOND / 1e6 + time_s
    return (
        {f"{at}.image": jpeg, f"{at}.pose.transform": world.ravel().tolist()}
        | {f"{at}.velocity.linear_velocity.{axis}": float(v) for axis, v in zip("xyz", linear, strict=True)}
        | {f"{at}.velocity.angular_velocity.{axis}": 0.0 for axis in "xyz"}
        | {f"{at}.pose_timestamp": taken_s, f"{at}.rolling_shutter_params.shutter": 0.005}
        | {f"{at}.rolling_shutter_params.camera_trigger_time": taken_s - 0.02}
        | {f"{at}.rolling_shutter_params.camera_readout_done_time": taken_s + 0.02}
    )


def _range_row(found: Sweep) -> dict[str, Any]:
    first, second = found.returns
    at = "[LiDARComponent].range_image_return"
    return _grid(f"{at}1", first) | _grid(f"{at}2", second)


def _grid(field: str, image: np.ndarray) -> dict[str, Any]:
    return {f"{field}.values": image.ravel(), f"{field}.shape": list(image.shape)}


def _box_row(
    block: Block, street_from_vehicle: Float64[np.ndarray, "4 4"], time_s: float, points: int, top_points: int
) -> dict[str, Any]:
    at = "[LiDARBoxComponent]"
    turn, shift = street_from_vehicle[:3, :3], street_from_vehicle[:3, 3]
    center = turn.T @ (block.center(time_s) - shift)
    heading = block.heading - float(np.arctan2(turn[1, 0], turn[0, 0]))
    speed = turn.T @ np.array(block.velocity)
    return (
        {"key.laser_object_id": block.name}
        | {f"{at}.box.center.{axis}": float(v) for axis, v in zip("xyz", center, strict=True)}
        | {f"{at}.box.size.{axis}": v for axis, v in zip("xyz", block.size, strict=True)}
        | {f"{at}.box.heading": heading, f"{at}.type": TYPES[block.kind]}
        | {f"{at}.num_lidar_points_in_box": points, f"{at}.num_top_lidar_points_in_box": top_points}
        | {f"{at}.speed.{axis}": float(v) for axis, v in zip("xyz", speed, strict=True)}
        | {f"{at}.acceleration.{axis}": 0.0 for axis in "xyz"}
        | {f"{at}.difficulty_level.detection": 1, f"{at}.difficulty_level.tracking": 1}
    )


def _schemas(text_names: bool) -> dict[str, pa.Schema]:
    name = pa.string() if text_names else pa.int8()
    frame, camera = [("key.frame_timestamp_micros", pa.int64())], [("key.camera_name", name)]
    laser = [("key.laser_name", name)]
    image, calibration = "[CameraImageComponent]", "[CameraCalibrationComponent]"
    lidar, beams, box = "[LiDARComponent]", "[LiDARCalibrationComponent]", "[LiDARBoxComponent]"
    pose = "[LiDARPoseComponent].range_image_return1"
    intrinsic = [f"intrinsic.{field}" for field in ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")]
    motion = [f"velocity.{kind}_velocity.{axis}" for kind in ("linear", "angular") for axis in "xyz"]
    shutter = [
        f"rolling_shutter_params.{part}" for part in ("shutter", "camera_trigger_time", "camera_readout_done_time")
    ]
    place = [f"box.{part}.{axis}" for part in ("center", "size") for axis in "xyz"] + ["box.heading"]
    drive = [f"{part}.{axis}" for part in ("speed", "acceleration") for axis in "xyz"]
    fields: dict[str, Sequence[tuple[str, pa.DataType]]] = {
        "vehicle_pose": [*frame, ("[VehiclePoseComponent].world_from_vehicle.transform", MATRIX)],
        "camera_image": [*frame, *camera, (f"{image}.image", pa.binary()), (f"{image}.pose.transform", MATRIX)]
        + [(f"{image}.{part}", pa.float64()) for part in (*motion, "pose_timestamp", *shutter)],
        "camera_calibration": [*camera, *((f"{calibration}.{part}", pa.float64()) for part in intrinsic)]
        + [(f"{calibration}.extrinsic.transform", MATRIX)]
        + [(f"{calibration}.{part}", pa.int32()) for part in ("width", "height", "rolling_shutter_direction")],
        "lidar": [*frame, *laser]
        + [
            (f"{lidar}.range_image_return{number}.{part}", kind)
            for number in (1, 2)
            for part, kind in (("values", FLOATS), ("shape", IMAGE_SHAPE))
        ],
        "lidar_calibration": [*laser, (f"{beams}.extrinsic.transform", MATRIX)]
        + [(f"{beams}.beam_inclination.{part}", pa.float64()) for part in ("min", "max")]
        + [(f"{beams}.beam_inclination.values", pa.list_(pa.float64()))],
        "lidar_pose": [*frame, *laser, (f"{pose}.values", FLOATS), (f"{pose}.shape", IMAGE_SHAPE)],
        "lidar_box": [*frame, ("key.laser_object_id", pa.string())]
        + [(f"{box}.{part}", pa.float64()) for part in place]
        + [(f"{box}.type", pa.int8())]
        + [(f"{box}.{part}", pa.int64()) for part in ("num_lidar_points_in_box", "num_top_lidar_points_in_box")]
        + [(f"{box}.{part}", pa.float64()) for part in drive]
        + [(f"{box}.difficulty_level.{part}", pa.int8()) for part in ("detection", "tracking")],
    }
    first = [("index", pa.string()), ("key.segment_context_name", pa.string())]
    return {component: pa.schema([*first, *own]) for component, own in fields.items()}
