"""A client of the Tencent API: what `hsmkms import-key` and `hsmkms wrap` do on the customer's machine.

Laws:

- it knows the service by its API alone: of the other rooms it sees what is pure in `dialects`, and `core`;
- the material's length is checked here before any of it is sent, and before a key is created for it wherever the
  service shows its edition without that key;
- material is wrapped here and overwritten here; what is sent of it is ciphertext;
- material, secret keys and import tokens are in no message, no argument and no variable of the environment;
- what can be tried again is tried again as exactly the same request; nothing else is;
- it says what it does to a `Teller` and does not know of terminals.
"""
