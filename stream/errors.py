"""Every error fanpulse raises; each leaf asks for a different reaction.

FanpulseError
├── ConfigurationError     refuse to start; the message names the setting or model at fault
├── Rejected               (comments.py) one comment goes to the rejected topic, its neighbours go on
├── InputRefused           the model refuses a request: bisect it, reject the text that is at fault
├── SmokeFailed            a version of a model does not do what its config says: it does not serve
├── Unavailable            a service is away or answers nonsense: pause the partition, back off, try again
├── FenceMoved             the fence is not where the batch begins: seek Kafka to it
└── GaveUp                 retries are spent: stop the process with the batch un-acked
"""


class FanpulseError(Exception):
    """Base of all errors that fanpulse raises on purpose."""


class ConfigurationError(FanpulseError):
    """Something that was set cannot work; the message names it and says what to do."""


class InputRefused(FanpulseError):
    """The model answered that this input is invalid (gRPC INVALID_ARGUMENT)."""


class SmokeFailed(FanpulseError):
    """A version of a model was tried and must not serve; the message names what failed."""


class Unavailable(FanpulseError):
    """`service` does not answer, or not sensibly; trying again later may help."""

    def __init__(self, service: str, why: str) -> None:
        super().__init__(f"{service} is unavailable: {why}")
        self.service = service


class FenceMoved(FanpulseError):
    """Redis' fence does not meet the batch; the partition must be read again from `next_offset`."""

    def __init__(self, next_offset: int | None) -> None:
        super().__init__(f"the fence stands at {next_offset}")
        self.next_offset = next_offset


class Interrupted(FanpulseError):
    """The partition is being taken away, or the process stops, while a batch waits to be tried again."""


class GaveUp(FanpulseError):
    """Retries are spent; the process stops with its work un-acked and another one takes over."""
