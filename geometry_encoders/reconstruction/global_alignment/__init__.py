"""Global alignment: predictions of many pairs of views become one scene (DUSt3R, arXiv:2312.14132, section 3.4)."""

from geometry_encoders.reconstruction.global_alignment.alignment import Alignment, align, align_graph
from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig, KnownCameras, StorageConfig
from geometry_encoders.reconstruction.global_alignment.pair_graph import PairGraph
from geometry_encoders.reconstruction.global_alignment.pair_viewer import view_pair
from geometry_encoders.reconstruction.global_alignment.predict import predict_graph, reconstruct_views

__all__ = [
    "Alignment",
    "AlignmentConfig",
    "KnownCameras",
    "PairGraph",
    "StorageConfig",
    "align",
    "align_graph",
    "predict_graph",
    "reconstruct_views",
    "view_pair",
]
