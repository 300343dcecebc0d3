"""Fuses what a database knows into what was seen: the second stage of RetrievalFuse (ICCV 2021)."""

from geometry_encoders.retrieval.refinement.attention import AttentionSettings
from geometry_encoders.retrieval.refinement.configuration import RetrievalFuseConfig
from geometry_encoders.retrieval.refinement.modeling import RefinementOutput, RetrievalFuseModel

__all__ = ["AttentionSettings", "RefinementOutput", "RetrievalFuseConfig", "RetrievalFuseModel"]
