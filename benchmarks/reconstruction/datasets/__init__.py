"""Datasets that reconstructions are measured on, each read from its official folder layout."""
