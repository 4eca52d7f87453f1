"""The embedded Kafka, Redis and Triton of a laptop."""
