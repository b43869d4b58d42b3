"""The repository that every test of the front may ask for."""

REDIS = "charts.example.test/redis"
