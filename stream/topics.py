"""The Kafka topics, declared explicitly: nothing else creates them."""

from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from stream.connections import kafka_options
from stream.errors import ConfigurationError, Unavailable
from stream.settings import Settings


async def partitions(settings: Settings) -> Mapping[str, int]:
    """Partition counts of the two topics; one that is missing is left out. Raises Unavailable."""
    admin = AIOKafkaAdminClient(**kafka_options(settings))
    try:
        await admin.start()
        wanted = [settings.comments_topic, settings.rejected_topic]
        described = await admin.describe_topics(wanted)
    except (KafkaError, OSError) as error:
        raise Unavailable("Kafka", f"{type(error).__name__}: {error}") from error
    finally:
        await admin.close()
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}


async def check(settings: Settings) -> None:
    """Raise ConfigurationError unless both topics are there, Unavailable unless Kafka is."""
    there = await partitions(settings)
    missing = [t for t in (settings.comments_topic, settings.rejected_topic) if t not in there]
    if missing:
        raise ConfigurationError(
            f"Kafka has no topic {' and no topic '.join(missing)}: run `fanpulse topics --create`"
        )


async def create(settings: Settings, count: int, replication: int) -> list[str]:
    """Create what is missing and return its names: comments with `count` partitions, rejected compacted.

    Raises ConfigurationError where the brokers refuse or the topic has another number of partitions.
    """
    there = await partitions(settings)
    have = there.get(settings.comments_topic, count)
    if have != count:
        raise ConfigurationError(
            f"topic {settings.comments_topic} has {have} partitions, not {count}: adding some moves keys"
        )
    compacted = {"cleanup.policy": "compact"}
    wanted = [
        NewTopic(settings.comments_topic, count, replication),
        NewTopic(settings.rejected_topic, count, replication, topic_configs=compacted),
    ]
    missing = [topic for topic in wanted if topic.name not in there]
    if not missing:
        return []
    admin = AIOKafkaAdminClient(**kafka_options(settings))
    try:
        await admin.start()
        answer = await admin.create_topics(missing)
    except (KafkaError, OSError) as error:
        raise Unavailable("Kafka", f"{type(error).__name__}: {error}") from error
    finally:
        await admin.close()
    for name, code, *why in answer.topic_errors:
        error_class = for_code(code)
        if code != 0 and error_class is not TopicAlreadyExistsError:
            raise ConfigurationError(f"topic {name}: {error_class.__name__}: {why[0] if why else ''}")
    return [topic.name for topic in missing]
