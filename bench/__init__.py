"""The figures that docs and issues speak of, measured: ``python -m bench``, or ``make bench``."""
