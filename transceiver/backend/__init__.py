"""What a call's audio is handed to: ``interface`` is the border, the modules beside it are backends
and what helps to write one."""

from .interface import Backend, BackendFactory, Call

__all__ = ["Backend", "BackendFactory", "Call"]
