"""An empty room seen by known cameras, written in the folder layouts of the datasets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from benchmarks.reconstruction.frames import PosedFrame
from geometry_encoders.reconstruction.cropping import CameraImage

HALF_SIZE_M = np.array([2.0, 1.5, 2.5])
MISSING = (slice(0, 3), slice(0, 5))  # rows and columns without depth


def room_frames(count: int, size: tuple[int, int] = (640, 480), focal_px: float = 525.0) -> list[PosedFrame]:
    """Frames of a walk through a box around the origin, in metres; a corner of each has no depth."""
    return [_frame(number, size, focal_px) for number in range(count)]


def _frame(number: int, size: tuple[int, int], focal_px: float) -> PosedFrame:
    width, height = size
    intrinsics = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("yx", [20 * number - 35, 8 * number - 12], degrees=True).as_matrix()
    pose[:3, 3] = [0.3 * number - 0.5, 0.1 * number, -0.2 * number]
    rows, columns = np.indices((height, width))
    local = np.stack([(columns - width / 2) / focal_px, (rows - height / 2) / focal_px, np.ones(rows.shape)], axis=-1)
    rays = local @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        depth = ((np.sign(rays) * HALF_SIZE_M - pose[:3, 3]) / rays).min(axis=-1)  # rays have z = 1 in the camera
    hits = pose[:3, 3] + rays * depth[..., None]
    image = ((np.floor(hits * 4) % 2) * 120 + (hits + 2.5) / 5 * 130).clip(0, 255).astype(np.uint8)
    depth[MISSING] = 0
    return PosedFrame(f"{number:06d}", CameraImage(image, depth.astype(np.float32), intrinsics), pose)


def depth_pixels(frame: PosedFrame) -> np.ndarray:
    """Millimetres as 16-bit numbers."""
    return (frame.view.depth * 1000).round().astype(np.uint16)


def write_seven_scenes(root: Path, frames: list[PosedFrame], scene: str = "chess", sequence: int = 3) -> Path:
    """One scene with one test sequence and a sequence that is not for testing; its folder."""
    folder = root / scene / f"seq-{sequence:02d}"
    folder.mkdir(parents=True)
    (root / scene / "seq-99").mkdir()
    (root / scene / "TestSplit.txt").write_text(f"sequence{sequence}\n")
    for frame in frames:
        start = folder / f"frame-{frame.name}"
        Image.fromarray(frame.view.image).save(f"{start}.color.png")
        depth = depth_pixels(frame)
        depth[depth == 0] = 65535
        Image.fromarray(depth).save(f"{start}.depth.proj.png")
        np.savetxt(f"{start}.pose.txt", frame.camera_to_world)
    return folder


def write_nrgbd(root: Path, frames: list[PosedFrame], scene: str = "kitchen") -> Path:
    """One scene; its folder."""
    folder = root / scene
    for name in ("images", "depth"):
        (folder / name).mkdir(parents=True)
    poses = []
    for number, frame in enumerate(frames):
        Image.fromarray(frame.view.image).save(folder / f"images/img{number}.png")
        Image.fromarray(depth_pixels(frame)).save(folder / f"depth/depth{number}.png")
        poses.append(frame.camera_to_world @ np.diag([1.0, -1.0, -1.0, 1.0]))
    np.savetxt(folder / "poses.txt", np.concatenate(poses))
    (folder / "focal.txt").write_text("554.2562584220408\n")
    return folder


def write_dtu(root: Path, frames: list[PosedFrame], scan: str = "scan7") -> Path:
    """One scan in millimetres, the object mask all but the left fifth; its folder."""
    folder = root / scan
    for name in ("images", "cams", "depths", "binary_masks"):
        (folder / name).mkdir(parents=True)
    for number, frame in enumerate(frames):
        stem, width = f"{number:08d}", frame.view.size[0]
        Image.fromarray(frame.view.image).save(folder / f"images/{stem}.jpg")
        np.save(folder / f"depths/{stem}.npy", frame.view.depth * np.float32(1000))
        mask = np.full(frame.view.depth.shape, 255, dtype=np.uint8)
        mask[:, : width // 5] = 0
        Image.fromarray(mask).save(folder / f"binary_masks/{stem}.png")
        (folder / f"cams/{stem}_cam.txt").write_text(camera_text(frame))
    return folder


def camera_text(frame: PosedFrame) -> str:
    """The camera as MVSNet writes it."""
    world_to_camera = np.linalg.inv(frame.camera_to_world)
    world_to_camera[:3, 3] *= 1000

    def table(matrix: np.ndarray) -> str:
        return "\n".join(" ".join(f"{value:.12g}" for value in row) for row in matrix)

    return f"extrinsic\n{table(world_to_camera)}\n\nintrinsic\n{table(frame.view.intrinsics)}\n\n425.0 2.5\n"


def write_room(root: Path, frames: list[PosedFrame], room: str = "room_0_00000") -> Path:
    """One synthetic room as `qa_generation.readers.synthetic` reads it, with a mesh of one triangle; its folder."""
    folder = root / room
    for name in ("images", "depth", "instance"):
        (folder / name).mkdir(parents=True)
    views = []
    for frame in frames:
        view_id = f"frame_{frame.name}"
        Image.fromarray(frame.view.image).save(folder / f"images/{view_id}.jpg", quality=95)
        Image.fromarray(depth_pixels(frame)).save(folder / f"depth/{view_id}.png")
        Image.fromarray(np.zeros(frame.view.depth.shape, np.uint16)).save(folder / f"instance/{view_id}.png")
        cameras = {"intrinsics": frame.view.intrinsics, "world_to_camera": np.linalg.inv(frame.camera_to_world)}
        views.append(
            {"id": view_id, "size": frame.view.size} | {name: matrix.tolist() for name, matrix in cameras.items()}
        )
    content = {"format": "spatialvlm-room", "version": 1, "scene_id": room, "instances": [], "views": views}
    (folder / "scene.json").write_text(json.dumps(content))
    np.savez(
        folder / "mesh.npz",
        vertices=np.eye(3, dtype=np.float32),
        triangles=np.array([[0, 1, 2]], np.int32),
        triangle_instances=np.zeros(1, np.int32),
        vertex_colors=np.zeros((3, 3), np.uint8),
    )
    return folder


def in_millimetres(frame: PosedFrame) -> PosedFrame:
    """The frame with depth and position in millimetres."""
    pose = frame.camera_to_world.copy()
    pose[:3, 3] *= 1000
    return replace(frame, view=replace(frame.view, depth=frame.view.depth * np.float32(1000)), camera_to_world=pose)
