"""The customer's page, `/r/{token}`: what is owed, and what the customer can do about it without a login."""
