"""Which of the replicas judges: a lease in Redis whose fencing token goes with every write."""

import asyncio
from typing import Any

from stream.errors import Unavailable
from stream.keys import Keys
from stream.subscription import answered

LEASE_S = 10.0

# A lease that is gone goes to whoever asks first, with a token no one had before.
_ACQUIRE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return token
"""
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Lease:
    """`token` is None while another replica leads. All methods raise Unavailable while Redis is away.

    Holding a token proves nothing by itself: what is written under it is checked against the lease in the
    same atomic script (store.py), so a leader that slept past its lease writes nothing.
    """

    def __init__(self, redis: Any, keys: Keys, *, lease_s: float = LEASE_S) -> None:
        self._redis = redis
        self._key = keys.alert_root + "lease"
        self._counter = keys.alert_root + "tokens"
        self._lease_ms = int(lease_s * 1000)
        self.token: int | None = None

    async def hold(self) -> int | None:
        """Renew the lease, or take it where it is free; returns the token while this replica leads."""
        await self._renew()
        if self.token is None:
            with answered():
                taken = await self._redis.eval(_ACQUIRE, 2, self._key, self._counter, self._lease_ms)
            self.token = int(taken) or None
        return self.token

    async def keep(self) -> None:
        """Renew the lease whenever a quarter of it is over, however long judging takes; until cancelled."""
        while True:
            await asyncio.sleep(self._lease_ms / 4000)
            try:
                await self._renew()
            except Unavailable:
                continue  # whoever writes next finds the same, and says so

    async def _renew(self) -> None:
        if self.token is None:
            return
        with answered():
            renewed = await self._redis.eval(_RENEW, 1, self._key, self.token, self._lease_ms)
        if not renewed:
            self.token = None

    async def release(self) -> None:
        """Let another replica take over at once."""
        if self.token:
            with answered():
                await self._redis.eval(_RELEASE, 1, self._key, self.token)
            self.token = None
