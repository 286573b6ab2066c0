"""Sockets, HTTP/1.1 and TLS: a request becomes head and body, a reply becomes bytes, and nothing is understood here.

Laws:

- a dialect sees the target, the headers and the body as they arrived;
- every request has an identifier of ours, and its log line says who asked what and how it ended, never a body;
- a client that goes away stops nothing: what it asked for is finished and committed;
- the health paths answer whatever the token does;
- what a defect of ours raises is logged here and nowhere shown.
"""
