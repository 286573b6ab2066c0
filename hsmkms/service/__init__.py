"""The use cases: the order of steps, transactions and compensation.

Laws:

- knows the token and the database only as `core.ports`; decides nothing that a rule of the core can decide;
- the order of checks is the same for every dialect: signature; action; rate; fields; role; place; scope; key exists in
  this account; external; state; import token; deadline and attempts; ciphertext size; unwrap; length; fingerprint;
- what is answered has been committed; whatever changes state commits its audit event in the same transaction.
"""
