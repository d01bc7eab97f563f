"""How Hydra launched the present job: by itself, or beside other jobs of a sweep on the same cores."""

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

SHARING = ("joblib_launcher", "submitit_launcher.LocalLauncher")
"""Launchers (parts of their classes' paths) whose jobs run at once on this machine; on a cluster each has cores of its own."""


def in_sweep() -> bool:
    """Whether the present job is one of several that a line with ``-m`` asked for."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def jobs_side_by_side(cores: int) -> int:
    """How many jobs of the sweep share this machine's ``cores``; 1 outside a sweep, and where one follows the other."""
    if not HydraConfig.initialized():
        return 1
    launcher = HydraConfig.get().launcher
    if not any(name in str(launcher.get("_target_")) for name in SHARING):
        return 1
    asked = launcher.get("n_jobs", -1)
    return asked if isinstance(asked, int) and 0 < asked < cores else cores
