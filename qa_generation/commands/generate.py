def generate() -> None:
    """(being written)"""
    raise SystemExit("generate is being written")
