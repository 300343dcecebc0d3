"""reconstruction package."""
