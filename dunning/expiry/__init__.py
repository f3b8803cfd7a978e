"""A card that will be charged after its last valid day: when that is said, to whom, and when it is over."""
