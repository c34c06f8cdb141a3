"""The one exception of the package: a sentence that says what is wrong, where, and what to do."""


class SftError(Exception):
    """Something that the user can mend. The message names the file, the place in it and the remedy."""


class LawBroken(SftError):
    """A state's table did not keep its promises (`laws`, by name); nothing of it was stored."""

    def __init__(self, message: str, laws: list[str]):
        super().__init__(message)
        self.laws = laws


class Busy(SftError):
    """Another process is using the data folder or its database."""
