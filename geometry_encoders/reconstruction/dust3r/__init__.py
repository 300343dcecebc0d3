"""dust3r package."""
