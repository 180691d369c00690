"""The one family of errors: what could not be read, where, and what was expected there."""

from __future__ import annotations

import os


class StubsimError(Exception):
    """Input that cannot be read or used.

    What the stub itself would refuse is not an error but a boot with outcome ``failed``.
    Offsets are bytes from the start of the file, or of the section where one is named. ``more`` is what else is wrong,
    most often with the same file.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        section: str | None = None,
        offset: int | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.section = section
        self.offset = offset
        self.expected = expected
        self.hint = hint
        self.more: tuple[StubsimError, ...] = ()

    def within(self, *, path: str | None = None, section: str | None = None) -> StubsimError:
        """Name the file or section the bytes came from, where the parser could not know; returns itself."""
        self.path = self.path or path
        self.section = self.section or section
        for other in self.more:
            other.within(path=path, section=section)
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Whatever the constructor of a subclass takes: other processes send theirs as well."""
        return _sent, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        where = ["''" if part == "" else part for part in (self.path, self.section) if part is not None]
        if self.offset is not None:
            where.append(f"offset {self.offset:#x}")
        text = ": ".join([*where, self.message])
        if self.expected:
            text += f" (expected {self.expected})"
        if self.hint:
            text += f"; {self.hint}"
        return " ".join(text.split())


def reason(error: Exception) -> str:
    """Why the system did not do what was asked of it, in its own words; but a directory is a folder everywhere."""
    if isinstance(error, IsADirectoryError):
        return "is a folder"
    if isinstance(error, NotADirectoryError):
        return "is not a folder" if os.path.exists(error.filename or "") else "is not in a folder"
    return getattr(error, "strerror", None) or str(error)


def _sent(kind: type[StubsimError], words: tuple[object, ...], attributes: dict[str, object]) -> StubsimError:
    error = kind.__new__(kind, *words)
    error.__dict__.update(attributes)
    return error


class InternalError(StubsimError):
    """A fault of stubsim itself, or no memory for its work; the cause is the exception that nobody expected."""

    @classmethod
    def of(cls, cause: BaseException) -> InternalError:
        """What to tell of an exception that reached the end of the program."""
        if isinstance(cause, MemoryError) and type(cause) is MemoryError:
            return cls("internal error: not enough memory", hint=f"with more of it this may work; if not, {_REPORT}")
        said = " ".join(str(cause).split())[:_SAID_MAX]
        return cls(f"internal error: {type(cause).__name__}{said and f': {said}'}", hint=f"{_ABOUT} {_REPORT}")


_ABOUT = "a fault of stubsim, not of its input:"
_REPORT = "please report it with the input, the command and what it says with --debug added"
_SAID_MAX = 200
