"""Counts of what the service does, for Prometheus: the only importer of prometheus_client.

Laws:

- every series is one of a number that this program bounds: no label holds a key, an account, an access id, an address
  or text that a client chose;
- what is told is counted in plain numbers, in the process's one event loop, without a lock; what is merely there at the
  moment, such as a queue's length, is looked at when somebody asks;
- nobody who asks makes token or database work: what the database holds is counted in the background, and an answer
  has the last known counts, and how old they are.
"""
