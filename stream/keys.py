"""The names of all Redis keys. Keys of one partition share a slot by the hash tag `{topic:partition}`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PartitionKeys:
    """Keys that one partition's settles write, and nothing else does."""

    prefix: str
    topic: str
    partition: int

    @property
    def root(self) -> str:
        """What every key of the partition begins with, colon included."""
        return f"{self.prefix}:{{{self.topic}:{self.partition}}}:"

    @property
    def fence(self) -> str:
        """Hash; `next`: the first offset not yet settled."""
        return self.root + "fence"

    @property
    def events(self) -> str:
        """Stream; entry `<offset>-1`, field `event`."""
        return self.root + "events"

    @property
    def communities(self) -> str:
        """Sorted set: community → newest event minute."""
        return self.root + "communities"

    @property
    def changed(self) -> str:
        """Sorted set: bucket → the fence after the settle that last touched it."""
        return self.root + "changed"

    def bucket(self, suffix: str) -> str:
        """Hash or HyperLogLog named by `m:`, `h:`, `am:` or `a:`, start second and community."""
        return self.root + suffix


def literal(text: str) -> str:
    """`text` for a glob pattern, its wildcards escaped."""
    return "".join(f"\\{letter}" if letter in "*?[]\\^" else letter for letter in text)


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys that belong to no partition, and the way to those that do."""

    prefix: str = "fp"

    def partition(self, topic: str, partition: int) -> PartitionKeys:
        return PartitionKeys(self.prefix, topic, partition)

    def window(self, community: str) -> str:
        """Hash: window size → the rolling window as JSON."""
        return f"{self.prefix}:window:{community}"

    def buckets(self, topic: str) -> str:
        """Glob pattern of the minute and hour buckets of all partitions of `topic`."""
        return f"{literal(self.prefix)}:{{{literal(topic)}:*}}:[mh]:*"

    def parse_bucket(self, topic: str, key: str) -> tuple[int, str]:
        """Partition and suffix of a key that `buckets` matches."""
        partition, _, suffix = key.removeprefix(f"{self.prefix}:{{{topic}:").partition("}:")
        return int(partition), suffix

    @property
    def windows(self) -> str:
        """Stream of every published window."""
        return f"{self.prefix}:windows"

    @property
    def alerts(self) -> str:
        """Stream of alerts."""
        return f"{self.prefix}:alerts"

    @property
    def models(self) -> str:
        """Hash: model → version promoted at run time; `model:before`, `model:canary`, `model:shadow` (releases.py)."""
        return f"{self.prefix}:models"

    @property
    def alert_root(self) -> str:
        """What the alert process's own keys begin with; they share the slot of the `alerts` stream."""
        return f"{{{self.alerts}}}:"
