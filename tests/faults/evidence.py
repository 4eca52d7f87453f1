"""Judges what Redis held at one moment of a run, before a fault wiped it and a rebuild hid what was wrong."""

from dataclasses import replace
from pathlib import Path

from deploy.local import Redis
from tests.faults.observed import dead_letters, observe
from tests.faults.verifier import Verdict, Verifier

_COMPARED = 10  # one event in so many, byte for byte: an hour's run leaves a dozen copies


async def examine(copy: Path, verifier: Verifier) -> Verdict:
    """Verify every partition up to the fence that it has in `copy`, a snapshot of Redis."""
    verdict = Verdict()
    names = verifier.names
    config = ("appendonly no", f"dir {copy.parent}", f"dbfilename {copy.name}")
    async with Redis(copy.with_suffix(""), config=config) as server, server.connect() as client:
        letters = await dead_letters(verifier.bootstrap, names)
        for number in range(names.partitions):
            partition = await observe(client, verifier.bootstrap, names, number, letters)
            await replace(verifier, redis=client, compared=_COMPARED).judge(
                partition.settled_by_then(), verdict
            )
    return verdict
