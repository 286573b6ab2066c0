"""hsmkms: an on-prem key management service whose customers bring their own key material, inside the operator's token.

The rooms, from the top down; imports point down only (`lint-imports` holds them to it):

- `cli`: the commands;
- `supervisor`, `instance`: starts and replaces the processes of `serve`; makes self-contained instances for tests;
- `wiring`: the only place that names adapters;
- `web`: the only importer of aiohttp; beside it `client`, what a customer's machine does, over the API alone;
- `dialects`: one cloud's API each, bytes in and bytes out;
- `service`: the use cases, the order of steps;
- `audit`, `hsm`, `store`: the hash chain, the token, the database, blind to each other;
- `core`: the rules, pure; beside it `log`, which renders log lines.

`config` is the only reader of configuration.
"""

__version__ = "0.1.0"
