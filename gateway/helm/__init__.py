"""Everything about Helm's own formats, as pure functions of bytes."""
