"""A first look without internet: a Helm repository on loopback, the gateway in front of it, a pull, an outage."""
