"""The steps, in the order their revisions name."""
