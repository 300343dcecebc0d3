"""From pointmaps of partly seen rooms to completed geometry, and back to pointmaps of the same views.

Example::

    frame = room_frame(reconstruction, model.scale)
    room = complete_room(reconstruction, frame, model, retrieve)
    room.mesh                                  # triangles in the frame of the reconstruction
    fuller = completed_views(reconstruction, room)   # a Reconstruction, ready for encoders and exports
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.result import Reconstruction
from geometry_encoders.retrieval.distance_fields import Lattice, lattice_around
from geometry_encoders.retrieval.meshes import TriangleMesh
from geometry_encoders.retrieval.refinement import RetrievalFuseModel
from geometry_encoders.retrieval.scale import WINDOW, GridScale
from geometry_encoders.retrieval.scenes import CoarseScene, PointScene, Retriever, SceneInput, refine_scene
from geometry_encoders.retrieval.surfaces import extract_surface

PADDING = 8  # nodes around the room, as in the windows that networks learn from
QUANTILE = 0.002  # share of points beyond each border that count as flying
SURFACE_SEARCH = 2.0  # voxels behind the shell in which a ray looks for the surface itself

Points = Float[np.ndarray, "points 3"]


@dataclass(frozen=True, eq=False)
class RoomFrame:
    """Where a reconstruction lies in the grid of a network.

    Attributes:
        room_from_world: 4x4, takes points of the reconstruction to metres with y up, walls along the axes.
        lattice: nodes of the grid in that room frame.
    """

    room_from_world: Float[np.ndarray, "4 4"]
    lattice: Lattice

    def to_room(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Points of the reconstruction in the room frame."""
        return points @ self.room_from_world[:3, :3].T + self.room_from_world[:3, 3]

    def to_world(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Inverse of `to_room`."""
        world_from_room = np.linalg.inv(self.room_from_world)
        return points @ world_from_room[:3, :3].T + world_from_room[:3, 3]


@dataclass(frozen=True, eq=False)
class CompletedRoom:
    """Completed geometry of a room.

    Attributes:
        distance: (z, y, x) in the unit of the network's scale.
        mesh: its surface in the frame and unit of the reconstruction.
        frame: where the grid lies.
        scale: of the network.
    """

    distance: Float[np.ndarray, "depth height width"]
    mesh: TriangleMesh
    frame: RoomFrame
    scale: GridScale


def room_frame(
    reconstruction: Reconstruction,
    scale: GridScale,
    up: Float[np.ndarray, "3"] | None = None,
    min_confidence: float = 0.0,
    metres_per_unit: float | None = None,
) -> RoomFrame:
    """The room frame of a reconstruction: y up, turned so that its outline fills the smallest rectangle.

    Args:
        scale: of the network, in metres.
        up: upward direction in the frame of the reconstruction; None takes the mean upward axis of the cameras, which
            is right as far as pictures are held upright.
        min_confidence: points must be surer than this.
        metres_per_unit: of a reconstruction that is not metric.

    Raises:
        InputError: no points, no length known, or no upward direction known.
    """
    if metres_per_unit is None:
        if not reconstruction.metric:
            raise InputError("reconstruction: lengths are not metres, expected metres_per_unit to be given")
        metres_per_unit = 1.0
    if not metres_per_unit > 0:
        raise InputError(f"metres_per_unit is {metres_per_unit}, expected a number above 0")
    points = metres_per_unit * _points(reconstruction, min_confidence)
    level = _rotation_to_y(_upward(reconstruction) if up is None else np.asarray(up, np.float64))
    rotation = _turn_about_y(_heading(points @ level.T)) @ level
    placed = points @ rotation.T
    bounds = np.quantile(placed, [QUANTILE, 1 - QUANTILE], axis=0)
    matrix = np.eye(4)
    matrix[:3, :3] = metres_per_unit * rotation
    return RoomFrame(matrix, lattice_around(bounds, scale.voxel, PADDING))


def scene_of_points(points: Points, frame: RoomFrame, scale: GridScale) -> SceneInput:
    """What a network is given of points (x, y, z) in the room frame.

    A network of points gets their occupancy, one of low-resolution distances the distance of its nodes to the nearest
    point.
    """
    lattice = frame.lattice
    voxels = lattice.to_voxels(points)
    inside = ((voxels >= 0) & (voxels < lattice.shape)).all(axis=1)
    if not inside.any():
        raise InputError("none of the points lies in the grid of the room, expected the frame of the same room")
    if scale.input_kind == "points":
        return PointScene(torch.from_numpy(voxels[inside]).float(), lattice.shape, scale)
    coarse = lattice.strided(scale.upsampling)
    nodes = coarse.nodes(slice(None))
    distances = cKDTree(points[inside]).query(nodes.reshape(-1, 3))[0].reshape(nodes.shape[:3])
    return CoarseScene(torch.from_numpy(distances).float(), scale)


def complete_room(
    reconstruction: Reconstruction,
    frame: RoomFrame,
    model: RetrievalFuseModel,
    retrieve: Retriever | None = None,
    min_confidence: float = 0.0,
    stride: int = WINDOW,
) -> CompletedRoom:
    """The geometry of a partly seen room, completed from what the network and its database know.

    Args:
        frame: of `room_frame`.
        model: in evaluation mode.
        retrieve: candidates for inputs of windows, see `refine_scene`.
        min_confidence: points must be surer than this.
        stride: voxels between windows; below 64 they overlap and are blended.

    Raises:
        InputError: no points, or nothing of them in the grid.
    """
    points = frame.to_room(_points(reconstruction, min_confidence))
    distance = refine_scene(model, scene_of_points(points, frame, model.scale), retrieve, stride).numpy()
    surface = extract_surface(distance, model.scale.occupied, frame.lattice)
    mesh = TriangleMesh(frame.to_world(surface.vertices).astype(np.float32), surface.triangles)
    return CompletedRoom(distance, mesh, frame, model.scale)


def completed_views(
    reconstruction: Reconstruction,
    room: CompletedRoom,
    keep_above: float | None = 0.0,
    confidence: float | None = None,
) -> Reconstruction:
    """The reconstruction with pointmaps of the completed room where it had none.

    A ray that meets the shell around a surface goes on to where the distance field is smallest, for the shell lies
    three quarters of a voxel before the surface.

    Args:
        keep_above: measured points surer than this stay as they are; None replaces all.
        confidence: of pixels that are filled in; None takes the lowest of the measured pixels that stay, or 1.

    Raises:
        InputError: the reconstruction has no cameras, or the room no surface.
    """
    import open3d as o3d

    if reconstruction.camera_to_world is None or reconstruction.intrinsics is None:
        raise InputError("reconstruction: no cameras, expected poses and intrinsics to look at the room from")
    if not len(room.mesh.triangles):
        raise InputError("completed room: no surface, expected one to look at")
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(room.mesh.vertices), o3d.core.Tensor(room.mesh.triangles.astype(np.uint32)))
    kept = [_kept(measured, keep_above) for measured in reconstruction.confidence]
    if confidence is None:
        sure = np.concatenate([c[mask] for c, mask in zip(reconstruction.confidence, kept, strict=True)])
        confidence = float(sure.min()) if len(sure) else 1.0
    pointmaps, confidences = [], []
    for view, mask in enumerate(kept):
        rays = _rays(reconstruction, view)
        steps = scene.cast_rays(o3d.core.Tensor(rays.astype(np.float32)))["t_hit"].numpy()
        hit = np.isfinite(steps) & ~mask
        points = np.array(reconstruction.pointmaps[view])
        points[hit] = _onto_surface(rays[hit], steps[hit], room)
        sure = np.where(mask, reconstruction.confidence[view], np.where(hit, np.float32(confidence), np.float32(0)))
        pointmaps.append(points.astype(np.float32))
        confidences.append(sure.astype(np.float32))
    return replace(reconstruction, pointmaps=tuple(pointmaps), confidence=tuple(confidences))


def _kept(confidence: Float[np.ndarray, "height width"], keep_above: float | None) -> Bool[np.ndarray, "height width"]:
    return np.zeros_like(confidence, bool) if keep_above is None else confidence > max(keep_above, 0.0)


def _rays(reconstruction: Reconstruction, view: int) -> Float[np.ndarray, "height width 6"]:
    """Origin and direction of the ray of every pixel; pixel centres have whole coordinates."""
    assert reconstruction.camera_to_world is not None and reconstruction.intrinsics is not None
    height, width = reconstruction.sizes[view]
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    pose = reconstruction.camera_to_world[view]
    directions = pixels @ np.linalg.inv(reconstruction.intrinsics[view]).T @ pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return np.concatenate([np.broadcast_to(pose[:3, 3], directions.shape), directions], axis=-1)


def _onto_surface(rays: Float[np.ndarray, "rays 6"], steps: Float[np.ndarray, "rays"], room: CompletedRoom) -> Points:
    """Points behind the shell where the distance field is smallest along each ray."""
    unit = np.linalg.norm(room.frame.room_from_world[:3, 0])  # metres per unit of the reconstruction
    ahead = np.linspace(0, SURFACE_SEARCH, 17) * room.scale.voxel / unit
    along = rays[:, None, :3] + (steps[:, None] + ahead)[..., None] * rays[:, None, 3:]
    voxels = room.frame.lattice.to_voxels(room.frame.to_room(along).reshape(-1, 3))
    found = map_coordinates(room.distance, voxels.T, order=1, mode="nearest").reshape(along.shape[:2])
    return along[np.arange(len(along)), found.argmin(axis=1)]


# ---- the frame of a room ---------------------------------------------------------------------------------------------


def _points(reconstruction: Reconstruction, min_confidence: float) -> Points:
    points = reconstruction.point_cloud(min_confidence).points.astype(np.float64)
    if not len(points):
        raise InputError(f"reconstruction: no points surer than {min_confidence:g}, expected some of a room")
    return points


def _upward(reconstruction: Reconstruction) -> Float[np.ndarray, "3"]:
    if reconstruction.camera_to_world is None:
        raise InputError("reconstruction: no cameras to tell what is up, expected the upward direction to be given")
    return -reconstruction.camera_to_world[:, :3, 1].mean(axis=0)


def _rotation_to_y(up: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation that takes ``up`` to the y axis."""
    length = float(np.linalg.norm(up))
    if up.shape != (3,) or not np.isfinite(length) or length < 1e-6:
        raise InputError(f"up is {up.tolist()}, expected a direction of three numbers")
    x, y, z = up / length
    if y < -1 + 1e-12:
        return np.diag([1.0, -1.0, -1.0])
    axis = np.array([[0.0, -x, 0.0], [x, 0.0, z], [0.0, -z, 0.0]])  # cross product with (up x y)
    return np.eye(3) + axis + axis @ axis / (1 + y)


def _turn_about_y(angle_rad: float) -> Float[np.ndarray, "3 3"]:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])


def _heading(points: Points) -> float:
    """The turn about y, radians, after which the outline of the points fills the smallest rectangle."""
    sparse = points[:: max(1, len(points) // 20000)]

    def area(angle_deg: float) -> float:
        turned = sparse @ _turn_about_y(np.radians(angle_deg)).T
        low, high = np.quantile(turned[:, [0, 2]], [QUANTILE, 1 - QUANTILE], axis=0)
        return float(np.prod(high - low))

    coarse = min(range(-45, 45, 3), key=area)
    return float(np.radians(min(np.arange(coarse - 3, coarse + 3.01, 0.25), key=area)))
