"""Tencent Cloud API 3.0 for the service `kms`, version 2019-01-18, as the official SDKs speak it.

Laws:

- every answer is HTTP 200 with exactly `Content-Type: application/json`: with a charset behind it the official
  Python SDK skips its error check and returns an empty model;
- the order of checks: method; authorization form; time; signature; version; action; fields; then the service's;
- what is not covered by the signature (the SDKs sign host, content type and body only) is not believed further than
  the protocol allows: see SECURITY.md on replays of one action's signature as another's.
"""
