"""Verbs of the `spatialvlm` command that work on finished runs."""
