def bench() -> None:
    """(being written)"""
    raise SystemExit("bench is being written")
