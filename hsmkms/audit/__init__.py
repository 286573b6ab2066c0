"""The hash chain of the audit trail: made here, verified here, stored elsewhere.

Laws of this room:

- standard library only, synchronous, no input or output: it sees neither the database nor the token;
- two different events never have the same canonical form, so that a digest stands for one event and one past;
- a trail is verified from its digests alone: whoever changes, inserts, drops or swaps an event must make every later
  digest anew. (Cutting off the newest events shows only against a digest that was kept elsewhere.)
"""
