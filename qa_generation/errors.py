"""Exceptions that a person sees: each message names the file, the field, what was found and what was expected."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one sentence fit to be printed on its own."""


class SceneError(InputError):
    """One scene is missing, truncated or contradictory; batch jobs record it and go on with the next scene."""
