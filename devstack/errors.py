"""The failures that a user of the devstack can meet, each with a text that says what to do next.

The CLI turns exactly these into one line and exit code 1; any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations


class DevstackError(Exception):
    """Base of everything that the devstack reports to its user instead of crashing."""


class MissingToolError(DevstackError):
    """Something that must be installed first is not: a JDK, Maven, a library, a Python package."""


class DownloadError(DevstackError):
    """Maven could not bring the artifacts; the end of its output is in the message."""


class StateError(DevstackError):
    """The state file of a home cannot be read, or the home does not fit what was asked for."""


class PortTakenError(DevstackError):
    """A port that a server had before now belongs to another process."""


class UnhealthyError(DevstackError):
    """A server does not answer as it should."""


class StartError(DevstackError):
    """A server did not become healthy in time, or died on the way; the end of its log is in the message."""


class ExternalServerError(DevstackError):
    """The devstack cannot stop, start or kill a server that it does not own."""


class InterruptedUpError(DevstackError):
    """`up` was interrupted; whatever it had started has been stopped again."""
