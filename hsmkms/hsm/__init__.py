"""The token, behind processes of its own.

Laws of this room:

- only `hsmkms.hsm.host` imports `pkcs11`, and only a host process imports `hsmkms.hsm.host`: whoever calls (`client`)
  or starts (`spawn`) a host shares nothing with it but `messages` and `report`;
- a host obeys the short list of verbs in `messages` and nothing else: there is no pass-through of PKCS#11 calls;
- a host keeps nothing that matters: all that it makes goes back to the caller, sealed, so it may be killed at any time;
- a host that misses a deadline is given up and replaced, never waited for.
"""
