"""The reminder before a renewal: who gets one, when, and when there is nothing to remind of."""
