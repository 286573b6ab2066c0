"""What the service does with a token, as a ratio to what the token does by itself in the same run on the same cores.

Laws:

- ratios come first: absolute figures of one machine say little about another;
- the token is measured before the service starts and after it has stopped, by as many processes as the service has
  hosts; never while the service works;
- every answer is checked, and one wrong answer ends the bench: fast and wrong is no figure;
- what must be computed by the client, signatures and wrapped material, is computed before the clock starts;
- everything is made in a temporary folder, and whatever was started is stopped, also on Ctrl-C.
"""
