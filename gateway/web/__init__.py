"""The HTTP front: requests become values, values become answers."""
