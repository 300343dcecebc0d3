def ask() -> None:
    """(being written)"""
    raise SystemExit("ask is being written")
