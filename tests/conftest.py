"""How properties are tried: the same examples at each run, however busy the machine.

``pytest --hypothesis-profile=explore`` tries new ones.
"""

from hypothesis import settings

settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("steady")
