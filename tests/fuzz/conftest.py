"""How many cases are tried: the profiles ``ci`` and ``long`` of Hypothesis."""

from hypothesis import HealthCheck, settings

from .promises import cases_asked_for

_SHARED = {
    "deadline": None,  # a busy machine is no fault; `promises.outcome` has a limit of its own, against hangs
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
}


def pytest_configure():
    settings.register_profile("ci", derandomize=True, **_SHARED)
    settings.register_profile("long", **_SHARED)
    settings.load_profile("ci" if cases_asked_for() is None else "long")


def pytest_terminal_summary(terminalreporter, config):
    asked = cases_asked_for()
    if asked is not None:
        terminalreporter.write_line(f"fuzz: {asked} cases of each property, seed {config.getoption('hypothesis_seed')}")
