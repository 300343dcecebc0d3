"""qa_generation package."""
