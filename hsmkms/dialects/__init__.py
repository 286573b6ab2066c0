"""Each cloud's API as a codec: bytes in, a command; an outcome or an error, bytes out.

Laws:

- no sockets and no HTTP library here: a dialect is tested with recorded bytes;
- a signature is verified over the raw request as it arrived, never over something parsed and written again;
- each wall changes the type once: bytes -> wire model -> command, outcome -> fields -> bytes; no rule of the core is
  repeated, a rule that is one cloud's own (spelling, limits, defaults) lives in its dialect;
- only a dialect turns an error into a code and a status, by a table that is total;
- what a cloud documents and this service does not offer is refused by name, never ignored;
- no dialect knows another; what they share is the modules beside them, among it the one answer to whose a request is.
"""
