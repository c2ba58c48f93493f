"""aigateway: one port between AI clients and model providers.

The pure half (formats, routing, configuration) imports nothing from Twisted; the
Twisted half (sockets, time, Deferreds) decides nothing about formats.
"""

__version__ = "0.1.0"
