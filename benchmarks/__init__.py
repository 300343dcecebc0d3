"""Benchmarks: SpatialMosaic-Bench, reconstruction and speed."""
