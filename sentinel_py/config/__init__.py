"""sentinel.conf: parsed, checked, rendered, and rewritten so that a crash leaves no half file."""
