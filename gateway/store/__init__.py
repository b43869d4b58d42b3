"""What is kept: a catalog of what we know, a blob store of what we hold."""
