"""Where each assigned partition stands: what the next batch covers, which batches still count. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aiokafka import ConsumerRecord
from faust.types import TP


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition.

    It covers the offsets [position, end): `position` is where the batch before it ended, so offsets that the
    log skips (compaction, transaction markers) belong to the batch that follows them.
    """

    tp: TP
    position: int
    end: int
    records: Sequence[ConsumerRecord]
    epoch: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Offsets of one partition: settled up to, handed to agents up to, read up to, and where the log ends."""

    settled: int
    handed: int
    read: int
    end: int

    @property
    def has_work(self) -> bool:
        """Whether a record waits to be read or settled; a transaction's marker at the end is neither."""
        return self.settled < self.handed or self.read < self.end

    def is_where(self, later: "Standing") -> bool:
        """Whether nothing was read or settled until `later`."""
        return (self.settled, self.read) == (later.settled, later.read)


@dataclass(frozen=True, slots=True)
class Recheck:
    """The records begin above `position`: fetch again from there to learn whether the log really jumps."""

    position: int


class Positions:
    """Turns fetched runs of records into batches that cover each partition without a hole or an overlap."""

    def __init__(self) -> None:
        self._next: dict[TP, int] = {}
        self._epochs: dict[TP, int] = {}
        self._rechecked: dict[TP, int] = {}  # positions fetched again already because the log jumped there
        self._last_epoch = 0
        self.settled: dict[TP, int] = {}  # the fence, as far as it is known here

    def begin(self, tp: TP, offset: int) -> None:
        """Read `tp` from `offset` on; batches of it made before are no longer current."""
        self._last_epoch += 1
        self._epochs[tp] = self._last_epoch
        self._next[tp] = self.settled[tp] = offset
        self._rechecked.pop(tp, None)

    def keep(self, assigned: Collection[TP]) -> None:
        """Forget every partition that is not among `assigned`."""
        for tp in self._next.keys() - assigned:
            del self._next[tp], self._epochs[tp], self.settled[tp]

    def standing(self, tp: TP, *, read: int, end: int) -> Standing | None:
        """Where `tp` stands, given what the consumer knows; None where it is not ours."""
        if tp not in self._next:
            return None
        return Standing(self.settled[tp], self._next[tp], read, end)

    def __contains__(self, tp: TP) -> bool:
        return tp in self._next

    def is_current(self, batch: Batch) -> bool:
        """False once the partition was revoked, assigned anew or begun elsewhere since the batch was made."""
        return self._epochs.get(batch.tp) == batch.epoch

    def settle(self, batch: Batch) -> None:
        """Mark the offsets of a current batch as done."""
        if self.is_current(batch):
            self.settled[batch.tp] = batch.end

    def take(self, tp: TP, records: Sequence[ConsumerRecord]) -> Batch | Recheck | None:
        """Make a batch of the `records` fetched of `tp`, in ascending order and at least one.

        None where they bring nothing new. Right after a seek, records can come that were fetched before it:
        a jump is believed only when a fetch that follows a seek to the position shows it again.
        """
        position = self._next.get(tp)
        if position is None:
            return None
        if records[0].offset < position:
            records = [record for record in records if record.offset >= position]
            if not records:
                return None
        if records[0].offset > position and self._rechecked.get(tp) != position:
            self._rechecked[tp] = position
            return Recheck(position)
        end = self._next[tp] = records[-1].offset + 1
        return Batch(tp, position, end, records, self._epochs[tp])
