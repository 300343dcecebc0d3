"""geometry_encoders package."""
