"""The one exception that a user's input can cause."""


class ExciseError(ValueError):
    """Something about the input is wrong. The message names the row or file and says what to do."""
