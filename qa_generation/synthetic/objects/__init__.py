"""Builders of furniture and small things: each returns an `Item` with varied proportions and colours."""
