"""Replies of redis-sentinel and of this sentinel side by side, for `scripts/compare-replies`.

What is asked stands in the two modules of conversations, what is no difference in `masks`, and
every difference that is meant, with its reason, in `explained`.
"""
