"""What can go wrong at an API server, by blame. What is in force stays in force.

ClusterError                          `retry_after`: the seconds that the API server wishes for
├── ClusterUnreachableError           no answer, one that says 'later' (408, 429, 5xx), or nonsense: tried again
├── ClusterRefusedError               it refused our credentials, rights or object: an administrator can help
│   ├── CredentialsError              the kubeconfig or service account can't be read
│   └── ClusterMissingError           404: there is no such object, or no such kind
├── ClusterConflictError              409: another writer changed the object first: read again
├── ExpiredError                      410: the changes since that resource version can't be had: listed again
└── AnswerTooLongError                an answer is longer than we may hold: less is asked for
"""

from __future__ import annotations

from zones.runtime.errors import ZonebridgeError


class ClusterError(ZonebridgeError):
    """The Kubernetes API didn't do what was asked."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ClusterUnreachableError(ClusterError):
    """No answer, or one that says 'later' or nothing of use: worth trying again."""


class ClusterRefusedError(ClusterError):
    """The API server refused our credentials, our rights or the object itself, or doesn't know the kind."""


class CredentialsError(ClusterRefusedError):
    """What says where the API server is, and who we are, can't be read; perhaps it is just being written."""


class ClusterMissingError(ClusterRefusedError):
    """404: there is no such object, or no such kind."""


class ClusterConflictError(ClusterError):
    """Another writer was first; what was decided on is out of date."""


class ExpiredError(ClusterError):
    """410: the changes since that resource version can't be had."""


class AnswerTooLongError(ClusterError):
    """An answer of more octets than we may hold: ask for less."""
