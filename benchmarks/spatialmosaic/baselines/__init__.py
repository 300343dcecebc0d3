"""What stands beside a model in the tables: guesses without pictures, and the model itself with something taken away.

| name | what it is |
|---|---|
| `chance` | expected score of a uniform guess among the options |
| `constant` | per type the one answer that scores best |
| `question_only` | the readers of the blind audit: they see texts and options, never a picture |
| `best_view` | the model, shown only the view with most of the asked object |
| `other_views` | the model, shown as many views of another scene under the names of the right ones |
| `shuffled_views` | the model, shown the right views under each other's names |
| `no_geometry` | the model with its fusion block bypassed: an ablation at inference, not a trained twin |
"""

from benchmarks.spatialmosaic.baselines.chance import CHANCE, chance
from benchmarks.spatialmosaic.baselines.constant import constant
from benchmarks.spatialmosaic.baselines.question_only import question_only
from benchmarks.spatialmosaic.baselines.run import BLIND, NAMES, WITH_MODEL, Ask, check_names, run_baselines

__all__ = [
    "BLIND",
    "CHANCE",
    "NAMES",
    "WITH_MODEL",
    "Ask",
    "chance",
    "check_names",
    "constant",
    "question_only",
    "run_baselines",
]
