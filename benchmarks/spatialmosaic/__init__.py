"""spatialmosaic package."""
