"""Replies of redis-sentinel and of this sentinel side by side; `scripts/compare-replies` shows them.

What is asked stands in `conversations`, what is no difference in `masks`, and every difference that
is meant, with its reason, in `explained`.
"""
