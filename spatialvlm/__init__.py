"""spatialvlm package."""
