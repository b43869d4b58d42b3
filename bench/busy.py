"""A process that computes until it is ended: what another is like beside it measures the machine."""

while True:
    pass
