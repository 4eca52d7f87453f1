"""Kafka, Redis and Triton as plain child processes on the loopback interface: no root, no containers."""

from deploy.local.kafka import Kafka, quorum
from deploy.local.redis import Redis, cluster, join
from deploy.local.service import Service, ServiceError
from deploy.local.triton import Triton

__all__ = ["Kafka", "Redis", "Service", "ServiceError", "Triton", "cluster", "join", "quorum"]
