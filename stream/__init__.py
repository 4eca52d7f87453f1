"""Comments from Kafka, scored on Triton, settled in Redis."""
