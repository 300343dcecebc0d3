"""What the question alone tells of its answer: the audit, and the pruning of sets that tell too much.

Nothing is imported here: the settings of generation take `blind.config` from this package, and importing the models
with it would close a circle through `tasks` (and load scikit-learn for everybody).
"""
