"""A process that computes until it is ended: what another one is like beside it is the measure of a machine."""

while True:
    pass
