"""What the service does with a token, as ratios to what the token does by itself in the same run on the same cores.

Laws:

- ratios come first: absolute figures of one machine say little about another;
- the token is measured before the service starts and after it has stopped, by as many processes as the service has
  hosts; never while the service works;
- what is compared with each other is measured by the same client, over the same kind of connections, at the same
  concurrency; what may drift meanwhile, such as services with few and with many keys, is measured in turn;
- every answer is checked, and one wrong answer ends the bench: fast and wrong is no figure;
- what must be computed by the client, signatures and wrapped material, is computed before the clock starts, but for a
  whole ceremony, of which the client's work is a part;
- everything is made in a temporary folder, and whatever was started is stopped, also on Ctrl-C.
"""
