"""What the engine costs and how fast it is: `make bench`."""
