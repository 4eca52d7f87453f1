"""Running fanpulse: the embedded stack, images, chart."""
