"""The admin desk: pages and an API for people, on a listener of their own."""
