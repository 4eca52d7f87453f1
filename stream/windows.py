"""Buckets become published rolling windows."""


class Publisher:
    """Not there yet."""

    def __init__(self, *_: object, **__: object) -> None: ...

    async def publish(self) -> None: ...
