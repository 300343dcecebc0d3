"""Reconstruction benchmark: how near pointmaps come to measured depth, by the protocol of Spann3R."""
