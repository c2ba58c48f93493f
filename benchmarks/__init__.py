"""What the gateway costs: ``python -m benchmarks.pure`` and ``python -m benchmarks.gateway``.

They need Linux (CPU and memory are read from ``/proc``), aigateway, and nothing else. How to
read the numbers, and how to compare them, is in ``README.md`` beside this file.
"""
