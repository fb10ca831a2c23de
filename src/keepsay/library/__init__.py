"""The library: ``Keepsay``, ``UserScope``, ``Run``. The one public API; everything above it is built on it."""
