"""What the operator wants: rules.yaml read into values, and a name routed by them."""
