"""The errors of queuewarden. Each message names the object, its state and the remedy."""


class QueuewardenError(Exception):
    """Base of all errors that queuewarden raises on purpose."""


class ConfigurationError(QueuewardenError):
    """The configuration cannot be used.

    Attributes:
        faults: one line for each fault, naming the variable and the remedy; never a secret.
    """

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class UnavailableError(QueuewardenError):
    """A database cannot be used just now: unreachable, a standby, or its secret is unreadable."""


class BusyError(QueuewardenError):
    """Another guard is repairing this database; the next sweep tries again."""


class HeldError(BusyError):
    """A repair was not begun, since what it went by does not hold any more.

    Attributes:
        why: ``lease``: another daemon may have it; ``pause``: somebody has paused repairs; ``undo``: rows
            were put back meanwhile, which the next sweep will know.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"held ({why}): the next sweep looks anew")
        self.why = why


class UnknownOutcomeError(QueuewardenError):
    """The connection was lost while a COMMIT was under way: the next look at the rows tells."""


class ChannelError(QueuewardenError):
    """A channel did not take a message; the reason holds no part of its URL.

    Attributes:
        permanent: trying again does not help: nobody understands the URL, or the receiver this message.
    """

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


class GaveWayError(QueuewardenError):
    """A statement of upkeep was ended, since somebody waited for it; the next run begins it anew."""
