"""The verbs of geometry encoders."""
