"""What a worker process does first: leave interrupts to the driver, and say where it was when it crashes."""

from __future__ import annotations

import faulthandler
import signal
import threading
from typing import Any


def dask_setup(worker: Any) -> None:
    """Ignore interrupts, which reach the whole process group but are the driver's to act on."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
