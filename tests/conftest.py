"""Settings of the whole suite."""

from hypothesis import settings

# A busy machine must not fail a property: time is measured in benchmarks/, not here.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
