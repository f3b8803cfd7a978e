"""The domain of dunning: pure functions of values. No I/O, no clock, no framework."""
