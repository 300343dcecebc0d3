"""The lm-eval task group: YAML files, and the functions they name (``utils``)."""
