"""Training of RetrievalFuse: encoders, database, refinement."""
