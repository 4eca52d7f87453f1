"""Rules over the buckets in Redis, and the alerts they raise."""
