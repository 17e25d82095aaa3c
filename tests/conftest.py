"""What every test file shares: how the oracle is configured, and how random programs are drawn."""

import os

# Read when JAX is imported. The oracle compiles many tiny programs, each run once or twice, so
# compile time is all that counts; float64 because the tolerances are relative 1e-8.
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)

# Native code is made in tests that ask for it; elsewhere nothing may change behind a test's back.
os.environ.setdefault("CHAINRULE_NATIVE", "0")

from hypothesis import HealthCheck, Phase, settings

# The same programs on every run. A failure is shown as it was met, which takes no time;
# `--hypothesis-profile=shrink` looks for the smallest program that fails in the same way.
COMMON = settings(
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("shrink", COMMON)
settings.register_profile("deterministic", COMMON, phases=[Phase.explicit, Phase.generate])
settings.load_profile("deterministic")
