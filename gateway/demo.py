"""A first look without internet: a Helm repository on loopback, a gateway in front, a pull, an outage."""
