def synth() -> None:
    """(being written)"""
    raise SystemExit("synth is being written")
