"""The routes of each protocol, and what a request of it means to a worker."""
