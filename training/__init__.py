"""From labelled rows to a Triton model folder."""
