"""The tests. Hypothesis holds no example to a time: a busy machine is no fault of the code."""

from hypothesis import settings

settings.register_profile("aigateway", deadline=None)
settings.load_profile("aigateway")
