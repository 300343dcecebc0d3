"""Benchmarks beside ours, from their public files: VSI-Bench, VSTI-Bench, SPAR-Bench; same scorer, same report."""
