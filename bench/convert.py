"""What pure work costs: archives read and converted, a chart found in an index. Observations, no targets."""
