"""What is true whatever the wire, the disk or the device.

Laws of this room:

- standard library only, synchronous, no input or output;
- no clock and no randomness: the present (`now`) and new identifiers come in as arguments;
- every value is frozen; a transition returns the new value or raises a `HsmkmsError`;
- each rule lives here exactly once, and the other rooms ask.
"""
