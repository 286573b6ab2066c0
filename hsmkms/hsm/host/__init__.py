"""The process that loads the PKCS#11 module and knows the PIN: `python -m hsmkms.hsm.host`.

Laws of this room:

- nobody imports it; it is started by `hsmkms.hsm.spawn` and spoken to in `hsmkms.hsm.messages`;
- templates are built in `templates` and checked in `mapper` only, because a value that python-pkcs11 cannot pack ends
  the process;
- no PKCS#11 error leaves it: `faults` sorts them, and the numbers go to the operator's log only;
- one session per thread, one operation per session, one login per process (two where material is transferred: the
  security officer's first), one try of each PIN;
- plaintext material exists only as an object of the token; no variable of ours ever holds it;
- what keys encrypt passes through, and nothing of it is kept or logged.
"""
