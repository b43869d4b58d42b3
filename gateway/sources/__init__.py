"""Where content comes from: what asks an upstream, and who may be asked."""
