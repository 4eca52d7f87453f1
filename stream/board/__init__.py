"""The live page a community manager keeps open: what is unusual now, why, and what people say."""
