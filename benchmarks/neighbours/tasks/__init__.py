"""lm-eval tasks: one per neighbour, each over all its questions."""
