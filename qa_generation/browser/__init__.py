"""Looking at a set of questions: a static site to browse records, and drawings of how they are distributed."""
