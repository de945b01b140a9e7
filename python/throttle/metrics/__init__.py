"""Metrics whose number is bounded before start.

It imports nothing by itself: prometheus_client is needed only by what uses it.
"""
